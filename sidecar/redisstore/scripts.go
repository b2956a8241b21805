package redisstore

import (
	"embed"
	"errors"

	"github.com/redis/go-redis/v9"
)

//go:embed scripts/*.lua
var sources embed.FS

// addressed puts the user that a script was asked about before its answer: an
// answer to another question, as a client or something on the way may mix them up,
// must not pass for this one's. Most of all the absence of a record looks alike
// for everybody.
const addressed = "local answer = main()\ntable.insert(answer, 1, KEYS[1])\nreturn answer\n"

// errCrossed means that the answer is that to another question.
var errCrossed = errors.New("redis answered another question than was asked")

// addressee takes the user off an answer.
func addressee(key string, values []any) ([]any, error) {
	if len(values) == 0 || values[0] != key {
		return nil, errCrossed
	}
	return values[1:], nil
}

// scripts are the changes of state; the files say what each takes and returns.
type scripts struct {
	load, savePending, enrol, begin, refund, commitTOTP, spendCode,
	replaceCodes, reseal, remove, reset *redis.Script
}

func loadScripts() (*scripts, error) {
	var s scripts
	lib, err := sources.ReadFile("scripts/lib.lua")
	if err != nil {
		return nil, err
	}
	for name, script := range map[string]**redis.Script{
		"load":          &s.load,
		"save_pending":  &s.savePending,
		"enrol":         &s.enrol,
		"begin":         &s.begin,
		"refund":        &s.refund,
		"commit_totp":   &s.commitTOTP,
		"spend_code":    &s.spendCode,
		"replace_codes": &s.replaceCodes,
		"reseal":        &s.reseal,
		"delete":        &s.remove,
		"reset":         &s.reset,
	} {
		source, err := sources.ReadFile("scripts/" + name + ".lua")
		if err != nil {
			return nil, err
		}
		*script = redis.NewScript(string(lib) + "local function main()\n" + string(source) + "\nend\n" + addressed)
	}
	return &s, nil
}
