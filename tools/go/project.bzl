"""Third-party Go programs, each built by `go build` from its own module, its own go.sum and its own versions.

Linked through rules_go they would share one version of every dependency with each other and with
us: some do not build so, and none would be what its authors tested.
"""

load("//tools/go:sdk.bzl", "go_proxies")

_SDK = Label("@go_linux_amd64//:ROOT")

def _go_source_impl(ctx):
    module, version = ctx.attr.module, ctx.attr.version
    goroot = ctx.path(_SDK).dirname
    go = str(goroot.get_child("bin").get_child("go"))
    proxies = go_proxies(ctx, go)
    ctx.download_and_extract(
        url = ["{}/{}/@v/{}.zip".format(p, module, version) for p in proxies],
        output = "src",
        sha256 = ctx.attr.sha256,
        stripPrefix = "{}@{}".format(module, version),
    )

    _vendor(ctx, go, proxies, "{}@{}".format(module, version))
    ctx.file("SOURCE", "{} {} {}\n".format(module, version, ctx.attr.sha256))
    ctx.file("BUILD.bazel", """exports_files(["SOURCE"])\n""")
    return ctx.repo_metadata(reproducible = True) if hasattr(ctx, "repo_metadata") else None

def _vendor(ctx, go, proxies, name):
    """Puts what the module in src depends on into src/vendor."""

    # Vendoring would also fetch what only the tests import.
    _run(ctx, ["find", "src", "-name", "*_test.go", "-type", "f", "-delete"], {})
    sums = ctx.read("src/go.sum")
    ctx.report_progress("go mod vendor")
    _run(ctx, [go, "mod", "vendor"], {
        "GOCACHE": str(ctx.path("cache")),
        "GOENV": "off",
        "GOFLAGS": "-modcacherw",
        "GOMODCACHE": str(ctx.path("mod")),
        "GOPROXY": ",".join(proxies),
        "GOROOT": str(ctx.path(go).dirname.dirname),
        "GOSUMDB": "off",  # the zip's hash or the repository pins go.sum, and go.sum pins the rest
        "GOTOOLCHAIN": "local",
        "GOWORK": "off",
    })
    if ctx.read("src/go.sum") != sums:
        fail("{}: its go.sum does not name every module it needs, so they would not be pinned".format(name))
    ctx.delete("mod")
    ctx.delete("cache")

def _go_nested_impl(ctx):
    folder = ctx.path(ctx.attr.go_mod).dirname
    ctx.watch_tree(folder)
    go = str(ctx.path(_SDK).dirname.get_child("bin").get_child("go"))
    _run(ctx, ["cp", "-rL", str(folder), "src"], {})
    _run(ctx, ["find", "src", "-name", "BUILD.bazel", "-type", "f", "-delete"], {})
    _vendor(ctx, go, go_proxies(ctx, go), str(ctx.attr.go_mod))

    # SOURCE stands for the folder, so it has to change with it.
    sums = ctx.execute(["sh", "-c", "find . -path ./vendor -prune -o -type f -print | LC_ALL=C sort | xargs sha256sum"], working_directory = "src")
    if sums.return_code:
        fail("{}: {}".format(ctx.attr.go_mod, sums.stderr))
    ctx.file("SOURCE", sums.stdout)
    ctx.file("BUILD.bazel", """exports_files(["SOURCE"])\n""")

def _run(ctx, command, environment):
    result = ctx.execute(command, environment = environment, working_directory = "src" if environment else "", timeout = 3600)
    if result.return_code:
        fail("{}: {}".format(" ".join(command), result.stderr))

_go_source = repository_rule(
    implementation = _go_source_impl,
    attrs = {
        "module": attr.string(mandatory = True),
        "sha256": attr.string(mandatory = True),
        "version": attr.string(mandatory = True),
    },
    environ = ["GOPROXY"],
    doc = "A module's source with its dependencies vendored, in src/; the file SOURCE stands for it.",
)

_go_nested = repository_rule(
    implementation = _go_nested_impl,
    attrs = {"go_mod": attr.label(mandatory = True, allow_single_file = True)},
    environ = ["GOPROXY"],
    doc = "A module of this repository with its dependencies vendored, in src/; the file SOURCE stands for it.",
)

def _projects_impl(ctx):
    for module in ctx.modules:
        for tag in module.tags.nested:
            _go_nested(name = tag.name, go_mod = tag.go_mod)
        for tag in module.tags.source:
            _go_source(name = tag.name, module = tag.module, sha256 = tag.sha256, version = tag.version)
    return ctx.extension_metadata(reproducible = True)

projects = module_extension(
    implementation = _projects_impl,
    tag_classes = {
        "nested": tag_class(attrs = {
            "go_mod": attr.label(doc = "go.mod of a module of this repository that is not part of the main one."),
            "name": attr.string(doc = "Name of the repository; its SOURCE goes to go_programs."),
        }),
        "source": tag_class(attrs = {
            "module": attr.string(doc = "The module's path."),
            "name": attr.string(doc = "Name of the repository; its SOURCE goes to go_programs."),
            "sha256": attr.string(doc = "sha256 of the module's zip, as a module proxy serves it."),
            "version": attr.string(doc = "The version, with its leading v."),
        }),
    },
)

def _go_programs_impl(ctx):
    outs = [ctx.actions.declare_file(ctx.label.name + "/" + name) for name in ctx.attr.programs]
    ctx.actions.run_shell(
        mnemonic = "GoProject",
        progress_message = "Building %{label} with go build",
        inputs = [ctx.file.source, ctx.file._sdk],
        outputs = outs,
        # go build uses every processor.
        resource_set = _two_cpus,
        env = {
            "CGO_ENABLED": "0",
            "GOENV": "off",
            "GOFLAGS": "-mod=vendor -trimpath -buildvcs=false",
            "GOPROXY": "off",
            "GOTOOLCHAIN": "local",
            "GOWORK": "off",
        },
        arguments = [
            ctx.file._sdk.path,
            ctx.file.source.path,
            outs[0].dirname,
            ",".join(ctx.attr.gotags),
            ctx.attr.ldflags,
        ] + ["{}={}".format(name, package) for name, package in ctx.attr.programs.items()],
        # Both directories are named by a file in them, which the sandbox links to.
        command = """set -eu
export GOROOT=$(dirname "$(readlink -f "$1")") HOME=$(mktemp -d) && trap 'rm -rf "$HOME"' EXIT
source=$(dirname "$(readlink -f "$2")")/src out=$PWD/$3 tags=$4 ldflags=$5 && shift 5
for p; do (cd "$source" && "$GOROOT/bin/go" build -tags "$tags" -ldflags "$ldflags" -o "$out/${p%%=*}" "${p#*=}"); done
""",
    )
    return [DefaultInfo(files = depset(outs), executable = outs[0] if len(outs) == 1 else None)]

def _two_cpus(_os, _inputs):
    return {"cpu": 2, "memory": 2000}

go_programs = rule(
    implementation = _go_programs_impl,
    doc = "Programs of one third-party module, built by plain `go build` without cgo.",
    attrs = {
        "gotags": attr.string_list(doc = "Build tags."),
        "ldflags": attr.string(default = "-s -w", doc = "Flags of the Go linker."),
        "programs": attr.string_dict(mandatory = True, doc = "Name of each program: its package, relative to the module or, of a module's tool, in full."),
        "source": attr.label(mandatory = True, allow_single_file = True, doc = "SOURCE of the module's repository."),
        "_sdk": attr.label(default = _SDK, allow_single_file = True),
    },
)
