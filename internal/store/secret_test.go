package store

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"atoll.dev/atoll/internal/atoll"
)

func TestLoadKey(t *testing.T) {
	for name, env := range map[string]string{
		"hex":           hex.EncodeToString(testKey[:]),
		"upper-hex":     " " + strings.ToUpper(hex.EncodeToString(testKey[:])) + "\n",
		"base64":        base64.StdEncoding.EncodeToString(testKey[:]),
		"base64-no-pad": base64.RawURLEncoding.EncodeToString(testKey[:]),
	} {
		t.Run(name, func(t *testing.T) {
			k, err := LoadKey(filepath.Join(t.TempDir(), "missing"), env)
			ok(t, err)
			if k != testKey {
				t.Error("another key")
			}
		})
	}
	for _, env := range []string{"x", "abcd", strings.Repeat("a", 63), strings.Repeat("é", 32), strings.Repeat("0", 66)} {
		if _, err := LoadKey(t.TempDir(), env); err == nil || strings.Contains(err.Error(), env+"a") {
			t.Errorf("%q: %v", env, err)
		}
	}
}

func TestKeyFile(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	path := filepath.Join(dir, "secret.key")
	k, err := LoadKey(dir, "")
	ok(t, err)
	again, err := LoadKey(dir, "")
	ok(t, err)
	if k != again || k == (Key{}) {
		t.Error("the key does not stay")
	}
	st, err := os.Stat(path)
	ok(t, err)
	equal(t, st.Mode().Perm(), os.FileMode(0o600))
	if strings.Contains(fmt.Sprintf("%v %+v %s", k, k, k), hex.EncodeToString(k[:4])) {
		t.Error("the key prints itself")
	}

	ok(t, os.Chmod(path, 0o640))
	if _, err := LoadKey(dir, ""); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("a key that others may read: %v", err)
	}
	ok(t, os.Chmod(path, 0o600))
	ok(t, os.WriteFile(path, []byte("half a key"), 0o600))
	if _, err := LoadKey(dir, ""); err == nil {
		t.Error("a damaged key was taken")
	}
	ok(t, os.Remove(path))
	open(t, dir)
	if _, err := LoadKey(dir, ""); err == nil || !strings.Contains(err.Error(), "missing") {
		t.Errorf("a new key was made beside secrets sealed with another: %v", err)
	}
}

func TestWrongKey(t *testing.T) {
	dir := t.TempDir()
	db := open(t, dir)
	ok(t, db.EnsureAccount(t.Context(), acct, "Acme"))
	ok(t, db.Close())
	if _, err := Open(nil, dir, Key{1}); err == nil || !strings.Contains(err.Error(), "another key") {
		t.Errorf("opened with another key: %v", err)
	}
	db = open(t, dir)
	_, err := db.Account(t.Context(), acct)
	ok(t, err)
}

func TestSecretsAreSealed(t *testing.T) {
	dir := t.TempDir()
	db := open(t, dir)
	ctx := t.Context()
	ok(t, db.EnsureAccount(ctx, acct, "Acme"))
	_, err := db.PutVersion(ctx, platform("a"), sample(), ScriptChange{Deploy: true})
	ok(t, err)
	inFiles(t, dir, "hunter2-hunter2") // in the log still
	ok(t, db.Close())
	inFiles(t, dir, "hunter2-hunter2")
}

// inFiles fails the test if a secret is in a file of dir, plain or in base64.
func inFiles(t *testing.T, dir, secret string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	ok(t, err)
	if len(files) == 0 {
		t.Error("no files")
	}
	for _, f := range files {
		data, err := os.ReadFile(f)
		ok(t, err)
		for _, form := range []string{secret, base64.StdEncoding.EncodeToString([]byte(secret))[:12]} {
			if bytes.Contains(data, []byte(form)) {
				t.Errorf("%s holds the secret", f)
			}
		}
	}
}

func TestMovedSecretsDoNotOpen(t *testing.T) {
	db := filled(t)
	ctx := t.Context()
	a, b := sample(), sample()
	_, err := db.PutVersion(ctx, user("a"), a, ScriptChange{Deploy: true})
	ok(t, err)
	_, err = db.PutVersion(ctx, user("b"), b, ScriptChange{Deploy: true})
	ok(t, err)
	second := sample()
	_, err = db.PutVersion(ctx, user("a"), second, ScriptChange{})
	ok(t, err)
	move := "UPDATE versions SET secrets = (SELECT secrets FROM versions WHERE id = ?) WHERE id = ?"
	for name, to := range map[string]atoll.ScriptRef{"script": user("b"), "version": user("a")} {
		t.Run(name, func(t *testing.T) {
			id := b.ID
			if name == "version" {
				id = second.ID
			}
			err := execute(ctx, db, move, a.ID, id)
			ok(t, err)
			if _, err := db.Version(ctx, to, id); err == nil || !strings.Contains(err.Error(), "open secret") {
				t.Errorf("moved secret: %v", err)
			}
		})
	}
	t.Run("binding", func(t *testing.T) {
		err := execute(ctx, db, `UPDATE versions SET doc = replace(doc, '"TOKEN"', '"OTHER"'), secrets = replace(CAST(secrets AS TEXT), '"TOKEN"', '"OTHER"')
			WHERE id = ?`, a.ID)
		if err == nil {
			t.Fatal("a blob became text")
		}
		err = execute(ctx, db, `UPDATE versions SET doc = replace(doc, '"TOKEN"', '"OTHER"'),
			secrets = CAST(replace(CAST(secrets AS TEXT), '"TOKEN"', '"OTHER"') AS BLOB) WHERE id = ?`, a.ID)
		ok(t, err)
		if _, err := db.Script(ctx, user("a")); err == nil || !strings.Contains(err.Error(), "open secret OTHER") {
			t.Errorf("renamed secret: %v", err)
		}
	})
}
