package injection_test

import "k8s.io/apimachinery/pkg/api/resource"

func quantity(text string) *resource.Quantity { return new(resource.MustParse(text)) }
