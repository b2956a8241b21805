package redisstore

import (
	"embed"

	"github.com/redis/go-redis/v9"
)

//go:embed scripts/*.lua
var sources embed.FS

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
		*script = redis.NewScript(string(lib) + string(source))
	}
	return &s, nil
}
