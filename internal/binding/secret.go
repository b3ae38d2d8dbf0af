package binding

import (
	"fmt"
	"io"
	"net/http"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/dispatch"
	"atoll.dev/atoll/internal/fault"
)

// secret answers with the value that a secret of a secrets store has now. It may have gone since the upload named it.
func (b *Border) secret(w http.ResponseWriter, r *http.Request, account atoll.AccountID, f *fields) error {
	value, err := b.Secret(r.Context(), account, f.StoreID, f.SecretName)
	if fault.KindOf(err) == fault.NotFound {
		return &dispatch.Exception{Name: "Error", Message: fmt.Sprintf("Secret %q not found", f.SecretName)}
	}
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "text/plain;charset=UTF-8")
	_, err = io.WriteString(w, value)
	return err
}
