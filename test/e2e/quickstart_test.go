package e2e_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/sallyport/sallyport/test/person"
)

// quickstart runs the commands of docs/quickstart.md as they stand there, from the app
// to the end of the policy, and does in a browser what the page says.
func quickstart(t *testing.T, n *node) {
	n.goesWith(t, "acme")
	run := func(title string) {
		t.Helper()
		for _, block := range shell(t, title) {
			t.Logf("$ %s", block)
			t.Log(n.shell(t, block))
		}
	}
	run("3. An app")
	run("4. One policy")
	window := person.Browser(t)
	forward := shell(t, "5. The second door")
	if len(forward) != 1 {
		t.Fatalf("the page has %d commands to reach the sidecar", len(forward))
	}
	address := n.forward(t, strings.Fields(strings.TrimPrefix(forward[0], "kubectl "))...)
	alice, adam := person.New(t, window, address), person.New(t, window, address)
	alice.SignsIn("alice")
	alice.IsAt("/my")
	phone, _ := alice.Enrols()
	alice.Open("/my")
	alice.SignsOut()
	alice.SignsIn("alice")
	alice.Screenshot("quickstart-challenge")
	alice.Passes(phone.Code(1), "/my")
	run("6. Turn the lever")
	adam.SignsIn("adam")
	until(t, "adam is sent to set up his second factor", func(context.Context) error {
		adam.Open("/my/documents")
		if at := adam.At(); !strings.HasPrefix(at, "/my/profile/two-factor") {
			return errors.New("he is at " + at)
		}
		return nil
	})
	adam.MustEnrol()
	run("7. Look around")
	p := &portal{node: n, namespace: "acme"}
	p.await(t)
	// The last two remove Sallyport and the cluster, on which more parts are run.
	end := strings.Split(strings.TrimSpace(shell(t, "8. Away with it")[0]), "\n")
	n.shell(t, strings.Join(end[:len(end)-2], "\n"))
}

// shell are the commands in a section of the page, block by block.
func shell(t *testing.T, title string) []string {
	t.Helper()
	page, err := os.ReadFile(filepath.Join(root, "docs/quickstart.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, section, ok := strings.Cut(string(page), "\n## "+title+"\n")
	if !ok {
		t.Fatalf("docs/quickstart.md has no section %q", title)
	}
	section, _, _ = strings.Cut(section, "\n## ")
	var blocks []string
	for _, found := range regexp.MustCompile("(?s)```sh\n(.*?)\n```").FindAllStringSubmatch(section, -1) {
		blocks = append(blocks, found[1])
	}
	if len(blocks) == 0 {
		t.Fatalf("section %q has no commands", title)
	}
	return blocks
}

// forward runs kubectl port-forward until the test has ended, and returns the address.
func (n *node) forward(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.Command(n.kubectl, args...) //nolint:noctx // it is ended below
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }) // it was killed
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("kubectl port-forward: %v", err)
	}
	port := regexp.MustCompile(`:(\d+) ->`).FindStringSubmatch(line)
	if port == nil {
		t.Fatalf("kubectl port-forward says %q", line)
	}
	return fmt.Sprintf("http://localhost:%s", port[1])
}
