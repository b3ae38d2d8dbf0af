package store

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/durable"
	"atoll.dev/atoll/internal/sqlite"
)

// Key is the AES-256 key that seals secrets.
type Key [32]byte

// String keeps the key out of logs.
func (Key) String() string { return "[secret key]" }

// LoadKey returns the key given in env (the value of ATOLL_SECRET_KEY: 32 bytes in hex or base64), and where that is
// empty the one in DIR/secret.key, which it makes at the first start.
func LoadKey(dir string, env string) (Key, error) {
	if env != "" {
		k, err := parseKey(env)
		if err != nil {
			return Key{}, fmt.Errorf("read ATOLL_SECRET_KEY: %w", err)
		}
		return k, nil
	}
	path := filepath.Join(dir, "secret.key")
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return makeKey(dir, path)
	}
	if err != nil {
		return Key{}, fmt.Errorf("read secret key: %w", err)
	}
	st, err := os.Stat(path)
	if err != nil {
		return Key{}, fmt.Errorf("read secret key: %w", err)
	}
	if st.Mode().Perm()&0o077 != 0 {
		return Key{}, fmt.Errorf("read secret key: others may read %s; run: chmod 600 %[1]s", path)
	}
	k, err := parseKey(string(text))
	if err != nil {
		return Key{}, fmt.Errorf("read secret key %s: %w", path, err)
	}
	return k, nil
}

func makeKey(dir, path string) (k Key, err error) {
	if _, err := os.Stat(filepath.Join(dir, "atoll.db")); err == nil {
		return Key{}, fmt.Errorf("%s is missing, and the secrets in %s are sealed with it: restore the file or set ATOLL_SECRET_KEY",
			path, filepath.Join(dir, "atoll.db"))
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return Key{}, fmt.Errorf("make secret key: %w", err)
	}
	rand.Read(k[:]) // never fails, see crypto/rand
	if err := durable.WriteFile(path, []byte(hex.EncodeToString(k[:])+"\n"), 0o600); err != nil {
		return Key{}, fmt.Errorf("make secret key: %w", err)
	}
	return k, nil
}

func parseKey(s string) (Key, error) {
	s = strings.TrimSpace(s)
	if b, err := hex.DecodeString(s); err == nil && len(b) == len(Key{}) {
		return Key(b), nil
	}
	unpadded := strings.TrimRight(s, "=")
	for _, enc := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		if b, err := enc.DecodeString(unpadded); err == nil && len(b) == len(Key{}) {
			return Key(b), nil
		}
	}
	return Key{}, errors.New("the key is not 32 bytes in hex or base64; make one with: openssl rand -hex 32")
}

// Derive returns a key for a purpose of its own, from which k does not follow.
func (k Key) Derive(purpose string) []byte {
	mac := hmac.New(sha256.New, k[:])
	mac.Write([]byte(purpose))
	return mac.Sum(nil)
}

func (k Key) aead() cipher.AEAD {
	block, err := aes.NewCipher(k[:])
	if err != nil {
		panic(err) // only for a key of another length
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err) // only for a cipher with blocks of another size
	}
	return aead
}

// checkKey makes sure that the file's secrets can be opened, before a new one is sealed with another key.
func (db *DB) checkKey(ctx context.Context) error {
	const name, text = "key_check", "atoll"
	return db.write(ctx, func(ctx context.Context, tx sqlite.Session) error {
		sealed, err := sqlite.One(ctx, tx, sqlite.Value[[]byte], "SELECT value FROM meta WHERE name = ?", name)
		if sqlite.Missing(err) {
			_, err := sqlite.Run(ctx, tx, "INSERT INTO meta VALUES (?, ?)", name, db.aead.Seal(nil, nil, []byte(text), []byte(name)))
			return err
		}
		if err != nil {
			return err
		}
		if _, err := db.aead.Open(nil, nil, sealed, []byte(name)); err != nil {
			return errors.New("its secrets are sealed with another key; give the key it was made with in ATOLL_SECRET_KEY or secret.key")
		}
		return nil
	})
}

// place is what a sealed secret is bound to: moved elsewhere in the file, it does not open.
func place(scriptTag string, version atoll.VersionID, binding string) []byte {
	return []byte(scriptTag + "/" + string(version) + "/" + binding)
}

// seal returns the secrets of a version's bindings for the column versions.secrets, nil where it has none.
func (db *DB) seal(scriptTag string, v *atoll.Version) ([]byte, error) {
	sealed := map[string][]byte{}
	for _, b := range v.Bindings {
		if b.Secret != nil {
			sealed[b.Name] = db.aead.Seal(nil, nil, b.Secret, place(scriptTag, v.ID, b.Name))
		}
	}
	if len(sealed) == 0 {
		return nil, nil
	}
	return json.Marshal(sealed)
}

// unseal puts the secrets back into a version's bindings.
func (db *DB) unseal(scriptTag string, v *atoll.Version, column []byte) error {
	if column == nil {
		return nil
	}
	var sealed map[string][]byte
	if err := json.Unmarshal(column, &sealed); err != nil {
		return fmt.Errorf("read secrets: %w", err)
	}
	for i := range v.Bindings {
		b := &v.Bindings[i]
		s, ok := sealed[b.Name]
		if !ok {
			continue
		}
		text, err := db.aead.Open([]byte{}, nil, s, place(scriptTag, v.ID, b.Name))
		if err != nil {
			return fmt.Errorf("open secret %s: %w", b.Name, err)
		}
		b.Secret = text
	}
	return nil
}
