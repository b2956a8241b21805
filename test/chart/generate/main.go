// Command generate writes the files of the chart that are derived: the CRD, the rights
// and the README's table of values. Run it by make manifests, in the module's folder.
package main

import (
	"fmt"
	"os"

	"github.com/sallyport/sallyport/test/chart"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "chart:", err)
		os.Exit(1)
	}
}

func run() error {
	files, err := chart.Generate(".")
	if err != nil {
		return err
	}
	for path, content := range files {
		if err := os.WriteFile(path, content, 0o644); err != nil {
			return err
		}
	}
	return nil
}
