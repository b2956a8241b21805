package chart_test

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
)

// bundled starts a real Redis on the configuration that the chart renders, in a folder
// and on a port of the test's own.
func bundled(t *testing.T, set string) (client func(password string) *redis.Client, stop func()) {
	t.Helper()
	program, err := exec.LookPath("redis-server")
	if err != nil {
		t.Fatal("no redis-server: test/setup/install brings it")
	}
	dir := t.TempDir()
	listener, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // only for its port
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	port := strconv.Itoa(listener.Addr().(*net.TCPAddr).Port)
	_ = listener.Close()

	all := objects(t, set)
	conf := find[corev1.ConfigMap](t, all, "ConfigMap", "sallyport-redis-server").Data["redis.conf"]
	pod := find[appsv1.StatefulSet](t, all, "StatefulSet", "sallyport-redis").Spec.Template.Spec
	mounts := make(map[string]string)
	for _, mount := range pod.Containers[0].VolumeMounts {
		mounts[mount.Name] = mount.MountPath
	}
	for was, is := range map[string]string{
		"port 6379\n":                                   "port " + port + "\nbind 127.0.0.1\n",
		"dir " + mounts["data"] + "\n":                  "dir " + dir + "\n",
		"include " + mounts["password"] + "/redis.conf": "include " + dir + "/password.conf",
	} {
		if strings.Count(conf, was) != 1 {
			t.Fatalf("the configuration does not have %q once:\n%s", was, conf)
		}
		conf = strings.Replace(conf, was, is, 1)
	}
	for name, content := range map[string]string{"redis.conf": conf, "password.conf": "requirepass \"of-the-test\"\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	client = func(password string) *redis.Client {
		c := redis.NewClient(&redis.Options{Addr: address, Password: password, MaxRetries: -1, DisableIdentity: true})
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	command := exec.CommandContext(t.Context(), program, filepath.Join(dir, "redis.conf"))
	var out strings.Builder
	command.Stdout, command.Stderr = &out, &out
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { _ = command.Wait(); close(done) }()
	stop = func() { _ = command.Process.Kill(); <-done }
	t.Cleanup(stop)
	deadline := time.After(20 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for admin := client("of-the-test"); admin.Ping(t.Context()).Err() != nil; {
		select {
		case <-done:
			t.Fatalf("Redis ended:\n%s", &out)
		case <-deadline:
			t.Fatal("Redis does not answer within 20 seconds")
		case <-tick.C:
		}
	}
	return client, stop
}

func TestBundledRedisKeepsWhatItIsGiven(t *testing.T) {
	for set, want := range map[string]map[string]string{
		"default": {"appendfsync": "always", "maxmemory": strconv.Itoa(256 << 20)},
		"tuned":   {"appendfsync": "everysec", "maxmemory": strconv.Itoa(2 << 30)},
	} {
		t.Run(set, func(t *testing.T) {
			client, _ := bundled(t, set)
			admin := client("of-the-test")
			want["appendonly"], want["maxmemory-policy"], want["save"] = "yes", "noeviction", ""
			for name, value := range want {
				if got := admin.ConfigGet(t.Context(), name).Val()[name]; got != value {
					t.Errorf("%s is %q, want %q", name, got, value)
				}
			}
			for _, command := range []string{"FLUSHALL", "FLUSHDB"} {
				if err := admin.Do(t.Context(), command).Err(); err == nil || !strings.Contains(err.Error(), "unknown command") {
					t.Errorf("%s: %v, want it to be no command", command, err)
				}
			}
			for _, password := range []string{"", "guessed"} {
				if err := client(password).Get(t.Context(), "a").Err(); err == nil || err == redis.Nil { //nolint:errorlint // redis.Nil is never wrapped
					t.Errorf("password %q reads keys", password)
				}
			}
		})
	}
}

func TestReadinessProbeTellsARedisThatServes(t *testing.T) {
	cli, err := exec.LookPath("redis-cli")
	if err != nil {
		t.Fatal("no redis-cli: test/setup/install brings it")
	}
	container := find[appsv1.StatefulSet](t, objects(t, "default"), "StatefulSet", "sallyport-redis").Spec.Template.Spec.Containers[0]
	probe := container.ReadinessProbe.Exec.Command
	if len(container.Env) != 1 || container.Env[0].Name != "REDISCLI_AUTH" || probe[0] != "redis-cli" {
		t.Fatalf("the probe is %q with %v", probe, container.Env)
	}
	client, stop := bundled(t, "default")
	_, port, err := net.SplitHostPort(client("").Options().Addr)
	if err != nil {
		t.Fatal(err)
	}
	try := func(password string) error {
		command := exec.CommandContext(t.Context(), cli, append([]string{"-p", port}, probe[1:]...)...)
		command.Env = append(os.Environ(), "REDISCLI_AUTH="+password)
		return command.Run()
	}
	if err := try("of-the-test"); err != nil {
		t.Errorf("a Redis that serves: %v", err)
	}
	if err := try("another"); err == nil {
		t.Error("a Redis that refuses the password passes for ready")
	}
	stop()
	if err := try("of-the-test"); err == nil {
		t.Error("a Redis that is gone passes for ready")
	}
}
