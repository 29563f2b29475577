package fetch

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/containerd/platforms"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/semaphore"
)

const (
	patience      = time.Minute // without a byte, until a pull is given up
	connections   = 3           // layers that are pulled at once
	documentLimit = 8 << 20     // bytes of an index, a manifest or a configuration
	indexDepth    = 3           // indexes in indexes
)

// store is where content goes to and comes from.
type store interface {
	content.Provider
	content.Ingester
	Abort(ctx context.Context, ref string) error // of content.IngestManager
}

type puller struct {
	store    store
	resolver remotes.Resolver
	platform platforms.MatchComparer
	progress io.Writer
	patience time.Duration
}

// image is a pulled image, but for what only other platforms need.
type image struct {
	digest     digest.Digest
	known      bool // the digest was known before; the rest is empty
	manifest   ocispec.Manifest
	entrypoint string // as the configuration has it; "" for none
	directory  string // where a relative entrypoint begins
	path       string // where an entrypoint without a slash is searched
}

// pull pulls what ref names, unless its digest is known.
func (p *puller) pull(ctx context.Context, ref string, known digest.Digest) (image, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	w := watch(ref, p.progress, p.patience, cancel)
	defer w.stop()
	im, err := p.pullWatched(ctx, ref, known, w)
	if err != nil && context.Cause(ctx) != nil {
		err = context.Cause(ctx)
	}
	if err != nil && w.bytes.Load() > 0 {
		err = interrupted{err}
	}
	return im, err
}

func (p *puller) pullWatched(ctx context.Context, ref string, known digest.Digest, w *watcher) (image, error) {
	name, target, err := p.resolver.Resolve(ctx, ref)
	if err != nil {
		return image{}, err
	}
	if target.Digest == known {
		return image{digest: known, known: true}, nil
	}
	fetcher, err := p.resolver.Fetcher(ctx, name)
	if err != nil {
		return image{}, err
	}
	fetcher = w.watched(fetcher)
	im := image{digest: target.Digest}
	if target, err = p.choose(ctx, fetcher, target); err != nil {
		return image{}, err
	}
	if err := p.document(ctx, fetcher, target, &im.manifest); err != nil {
		return image{}, err
	}
	if err := p.configuration(ctx, fetcher, &im); err != nil {
		return image{}, err
	}
	for _, layer := range im.manifest.Layers {
		w.total.Add(layer.Size)
	}
	limit := semaphore.NewWeighted(connections)
	err = images.Dispatch(ctx, remotes.FetchHandler(p.store, fetcher), limit, im.manifest.Layers...)
	if err != nil && !resumable(interrupted{cmp.Or(context.Cause(ctx), err)}) {
		p.forget(ctx, im.manifest.Layers)
	}
	return im, err
}

// forget drops what was received of layers that are not complete, which containerd
// would keep for a day.
func (p *puller) forget(ctx context.Context, layers []ocispec.Descriptor) {
	ctx = context.WithoutCancel(ctx)
	for _, layer := range layers {
		// There may be none.
		_ = p.store.Abort(ctx, remotes.MakeRefKey(ctx, layer))
	}
}

// choose follows indexes to the manifest for this platform.
func (p *puller) choose(ctx context.Context, fetcher remotes.Fetcher, target ocispec.Descriptor) (ocispec.Descriptor, error) {
	for range indexDepth {
		if images.IsManifestType(target.MediaType) {
			return target, nil
		}
		if !images.IsIndexType(target.MediaType) {
			return target, notImage(fmt.Sprintf("it is of type %q", target.MediaType))
		}
		var index ocispec.Index
		if err := p.document(ctx, fetcher, target, &index); err != nil {
			return target, err
		}
		best := -1
		var have []ocispec.Platform
		for i, m := range index.Manifests {
			switch {
			case m.Platform == nil && best < 0:
				best = i
			case m.Platform == nil || m.Platform.Architecture == "unknown":
			case !p.platform.Match(*m.Platform):
				have = append(have, *m.Platform)
			case best < 0 || index.Manifests[best].Platform == nil || p.platform.Less(*m.Platform, *index.Manifests[best].Platform):
				best = i
			}
		}
		if best < 0 {
			return target, wrongPlatform(have)
		}
		target = index.Manifests[best]
	}
	return target, notImage("its index is too deep")
}

// configuration gets what the image says of itself.
func (p *puller) configuration(ctx context.Context, fetcher remotes.Fetcher, im *image) error {
	if t := im.manifest.Config.MediaType; !images.IsConfigType(t) {
		return notImage(fmt.Sprintf("its configuration is of type %q", t))
	}
	var config ocispec.Image
	if err := p.document(ctx, fetcher, im.manifest.Config, &config); err != nil {
		return err
	}
	if config.Architecture != "" && !p.platform.Match(platforms.Normalize(config.Platform)) {
		return wrongPlatform([]ocispec.Platform{config.Platform})
	}
	if len(config.Config.Entrypoint) > 0 {
		im.entrypoint = config.Config.Entrypoint[0]
	}
	im.directory = config.Config.WorkingDir
	im.path = defaultPath
	for _, variable := range config.Config.Env {
		if value, ok := strings.CutPrefix(variable, "PATH="); ok {
			im.path = value
		}
	}
	return nil
}

// document pulls a JSON document and reads it into v.
func (p *puller) document(ctx context.Context, fetcher remotes.Fetcher, desc ocispec.Descriptor, v any) error {
	if desc.Size > documentLimit {
		return notImage(fmt.Sprintf("a document of it has %d bytes", desc.Size))
	}
	if err := images.Dispatch(ctx, remotes.FetchHandler(p.store, fetcher), nil, desc); err != nil {
		return err
	}
	text, err := content.ReadBlob(ctx, p.store, desc)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, v); err != nil {
		return notImage("a document of it cannot be read: " + err.Error())
	}
	return nil
}
