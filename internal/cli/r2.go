package cli

import (
	"context"
	"io"
	"mime"
	"os"
	"path/filepath"
	"strconv"

	"github.com/spf13/cobra"

	"atoll.dev/atoll/internal/client"
	"atoll.dev/atoll/internal/wire"
)

func r2Cmd(r *remote) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "r2",
		Short: "Buckets of objects",
		Long:  "R2 keeps objects by key in buckets, which Workers reach through bindings, and S3 clients through the API's listener.",
	}
	cmd.AddCommand(r2BucketCmd(r), r2ObjectCmd(r), &cobra.Command{
		Use: "credentials", Short: "Show what S3 clients sign with", Args: cobra.NoArgs,
		Long: "Every API token is an access key of S3's protocol: this shows the one in use, and the endpoint. Whoever has the secret may do in R2 what the token may.",
		RunE: r.run(func(ctx context.Context, c *client.Client, _ []string) error {
			key, err := c.AccessKey(ctx)
			if err != nil {
				return err
			}
			if r.json {
				return printJSON(r.std.Out, key)
			}
			return fields(r.std.Out, "Access key id", key.ID, "Secret access key", key.Secret, "Endpoint", key.Endpoint, "Region", "auto")
		}),
	})
	return cmd
}

func r2BucketCmd(r *remote) *cobra.Command {
	cmd := &cobra.Command{Use: "bucket", Short: "R2 buckets"}
	var in wire.R2BucketRequest
	create := &cobra.Command{
		Use: "create NAME", Short: "Make a bucket", Args: cobra.ExactArgs(1),
		RunE: r.run(func(ctx context.Context, c *client.Client, args []string) error {
			in.Name = args[0]
			b, err := c.CreateR2Bucket(ctx, in)
			if err != nil {
				return err
			}
			return r.done(b, "Made bucket %s", b.Name)
		}),
	}
	create.Flags().StringVar(&in.LocationHint, "location", "", "keep this location `HINT` with it, such as weur")
	create.Flags().StringVar(&in.StorageClass, "storage-class", "", "`CLASS` of objects that are put without one: Standard or InfrequentAccess")
	cmd.AddCommand(create,
		&cobra.Command{Use: "list", Short: "List the buckets", Args: cobra.NoArgs, RunE: r.run(r.listBuckets)},
		&cobra.Command{
			Use: "get NAME", Short: "Show a bucket", Args: cobra.ExactArgs(1),
			RunE: r.run(func(ctx context.Context, c *client.Client, args []string) error {
				b, err := c.R2Bucket(ctx, args[0])
				if err != nil {
					return err
				}
				if r.json {
					return printJSON(r.std.Out, b)
				}
				return fields(r.std.Out, "Name", b.Name, "Made", when(b.Created), "Location", b.Location, "Storage class", b.StorageClass)
			}),
		},
		&cobra.Command{
			Use: "delete NAME", Short: "Delete a bucket, which must be empty", Args: cobra.ExactArgs(1),
			RunE: r.run(func(ctx context.Context, c *client.Client, args []string) error {
				if err := c.DeleteR2Bucket(ctx, args[0]); err != nil {
					return err
				}
				return r.done(nil, "Deleted bucket %s", args[0])
			}),
		},
	)
	return cmd
}

func (r *remote) listBuckets(ctx context.Context, c *client.Client, _ []string) error {
	list, err := c.R2Buckets(ctx)
	if err != nil {
		return err
	}
	if r.json {
		return printJSON(r.std.Out, list)
	}
	t := table{head: []string{"NAME", "MADE", "STORAGE CLASS"}}
	for _, b := range list {
		t.add(b.Name, when(b.Created), b.StorageClass)
	}
	return t.write(r.std.Out, "No buckets. Make one with 'atoll r2 bucket create NAME'.")
}

func r2ObjectCmd(r *remote) *cobra.Command {
	cmd := &cobra.Command{Use: "object", Short: "Objects of a bucket"}
	var prefix, contentType, file string
	list := &cobra.Command{
		Use: "list BUCKET", Short: "List the objects", Args: cobra.ExactArgs(1),
		RunE: r.run(func(ctx context.Context, c *client.Client, args []string) error {
			return r.listObjects(ctx, c, args[0], prefix)
		}),
	}
	list.Flags().StringVar(&prefix, "prefix", "", "only objects whose keys begin with this `TEXT`")
	put := &cobra.Command{
		Use: "put BUCKET KEY FILE", Short: "Store a file as an object; - is standard input", Args: cobra.ExactArgs(3),
		Example: "  atoll r2 object put gallery cats/one.jpg one.jpg",
		RunE: r.run(func(ctx context.Context, c *client.Client, args []string) error {
			o, err := r.putObject(ctx, c, args[0], args[1], args[2], contentType)
			if err != nil {
				return err
			}
			return r.done(o, "Stored %s in %s (%d bytes)", o.Key, args[0], o.Size)
		}),
	}
	put.Flags().StringVar(&contentType, "content-type", "", "media `TYPE` of the content; by the file's name if it is not given")
	get := &cobra.Command{
		Use: "get BUCKET KEY", Short: "Print the content of an object, as it is", Args: cobra.ExactArgs(2),
		RunE: r.run(func(ctx context.Context, c *client.Client, args []string) error {
			return r.getObject(ctx, c, args[0], args[1], file)
		}),
	}
	get.Flags().StringVar(&file, "file", "", "write it to this `FILE` instead")
	cmd.AddCommand(list, put, get, &cobra.Command{
		Use: "delete BUCKET KEY", Short: "Delete an object", Args: cobra.ExactArgs(2),
		RunE: r.run(func(ctx context.Context, c *client.Client, args []string) error {
			if err := c.R2Delete(ctx, args[0], args[1]); err != nil {
				return err
			}
			return r.done(nil, "Deleted %s of %s", args[1], args[0])
		}),
	})
	return cmd
}

func (r *remote) listObjects(ctx context.Context, c *client.Client, bucket, prefix string) error {
	list := []wire.R2Object{}
	for o, err := range c.R2Objects(ctx, bucket, prefix) {
		if err != nil {
			return err
		}
		list = append(list, o)
	}
	if r.json {
		return printJSON(r.std.Out, list)
	}
	t := table{head: []string{"KEY", "SIZE", "STORED", "ETAG"}}
	for _, o := range list {
		t.add(o.Key, strconv.FormatInt(o.Size, 10), when(o.LastModified), o.ETag)
	}
	return t.write(r.std.Out, "No objects.")
}

func (r *remote) putObject(ctx context.Context, c *client.Client, bucket, key, file, contentType string) (wire.R2Object, error) {
	if contentType == "" {
		contentType = mime.TypeByExtension(filepath.Ext(file))
	}
	if file == "-" {
		return c.R2Put(ctx, bucket, key, r.std.In, -1, contentType)
	}
	f, err := os.Open(file)
	if err != nil {
		return wire.R2Object{}, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return wire.R2Object{}, err
	}
	return c.R2Put(ctx, bucket, key, f, st.Size(), contentType)
}

// getObject writes an object to standard output, or to a file that is there whole or not at all.
func (r *remote) getObject(ctx context.Context, c *client.Client, bucket, key, file string) error {
	if file == "" {
		return c.R2Get(ctx, bucket, key, r.std.Out)
	}
	f, err := os.CreateTemp(filepath.Dir(file), ".atoll-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // fails once renamed
	defer f.Close()
	if err := c.R2Get(ctx, bucket, key, io.Writer(f)); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), file)
}
