package client

import (
	"bytes"
	"mime/multipart"
)

// field is one plain field of a form.
type field struct {
	name  string
	value []byte
}

// form writes fields as multipart/form-data.
func form(fields ...field) (body []byte, ctype string, err error) {
	var buf bytes.Buffer
	w := multipart.NewWriter(&buf)
	for _, f := range fields {
		part, err := w.CreateFormField(f.name)
		if err != nil {
			return nil, "", err
		}
		if _, err := part.Write(f.value); err != nil {
			return nil, "", err
		}
	}
	if err := w.Close(); err != nil {
		return nil, "", err
	}
	return buf.Bytes(), w.FormDataContentType(), nil
}
