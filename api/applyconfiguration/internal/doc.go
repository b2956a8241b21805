// Package internal holds the schema by which apply configurations are extracted from
// objects, as make generate writes it.
//
// It may import the API machinery. It must never be edited: all but this file is
// written anew.
package internal
