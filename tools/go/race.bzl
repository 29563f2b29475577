"""Tests with Go's race detector.

The detector needs cgo, and so a C compiler, which rules_go would take from the host. Here `go test -c` in a
tool root builds what a go_test is made of once more, statically, so that it runs on any host.
"""

load("@rules_go//go:def.bzl", "GoPath", "go_path")
load("//tools/toolroot:toolroot.bzl", "TOOLROOT_ATTRS")

_MODULE = "github.com/ember-os/ember/"

# Arguments: what enters a tool root, its marker, that of the SDK, the tree of sources, the directory of the
# outputs, and the packages.
_COMPILE = """set -eu
enter=$1 root=$2 sdk=$(dirname "$(readlink -f "$3")") path=$4 out=$5; shift 5
scratch=$(mktemp -d) && trap 'rm -rf "$scratch"' EXIT
cp -rL --no-preserve=mode "$path" "$scratch/path" && mkdir "$scratch/out"
args=(); for v in GO111MODULE GOENV GOFLAGS GOPROXY GOTOOLCHAIN; do args+=(--env "$v=${!v}"); done
"$enter" --no-net --root "$root" --bind "$sdk:/go" --rw "$scratch:/scratch" "${args[@]}" -- bash -euc '
  export CGO_ENABLED=1 GOPATH=/scratch/path GOROOT=/go HOME=/scratch
  /go/bin/go test -c -race -tags osusergo,netgo -ldflags "-s -w -linkmode external -extldflags -static" -o /scratch/out/ "$@"
' bash "$@"
cp "$scratch"/out/* "$out"
"""

def _race_binaries_impl(ctx):
    path = ctx.attr.path[GoPath].gopath_file
    ctx.actions.run_shell(
        mnemonic = "GoRace",
        progress_message = "Building %{label} with the race detector",
        command = _COMPILE,
        arguments = [
            ctx.executable._enter.path,
            ctx.file._root.path,
            ctx.file._sdk.path,
            path.path,
            ctx.outputs.outs[0].dirname,
        ] + ctx.attr.packages,
        inputs = [path, ctx.file._root, ctx.file._sdk],
        outputs = ctx.outputs.outs,
        tools = [ctx.attr._enter[DefaultInfo].files_to_run],
        env = {
            "GO111MODULE": "off",
            "GOENV": "off",
            "GOFLAGS": "-trimpath -buildvcs=false",
            "GOPROXY": "off",
            "GOTOOLCHAIN": "local",
        },
        resource_set = _two_cpus,  # go uses every processor
    )

def _two_cpus(_os, _inputs):
    return {"cpu": 2, "memory": 2000}

_race_binaries = rule(
    implementation = _race_binaries_impl,
    doc = "The programs of tests, with the race detector.",
    attrs = {
        "outs": attr.output_list(mandatory = True, doc = "The programs, as go test -c calls them, in one directory."),
        "packages": attr.string_list(mandatory = True, doc = "The packages under test, by import path."),
        "path": attr.label(mandatory = True, providers = [GoPath], doc = "A go_path of what they are made of."),
        "_root": attr.label(default = "@cgo_root//:ROOT", allow_single_file = True),
        "_sdk": attr.label(default = "@go_linux_amd64//:ROOT", allow_single_file = True),
    } | TOOLROOT_ATTRS,
)

def _race_test_impl(ctx):
    script = ctx.actions.declare_file(ctx.label.name + ".sh")
    ctx.actions.write(script, """#!/bin/bash
# Outside of modules, programs are as those of Go 1.20 were unless told otherwise.
export GODEBUG=asynctimerchan=0,httpmuxgo121=0,x509keypairleaf=1
cd "$TEST_SRCDIR/$TEST_WORKSPACE/{}" && exec "$TEST_SRCDIR/$TEST_WORKSPACE/{}" "$@"
""".format(ctx.attr.test.label.package, ctx.file.binary.short_path), is_executable = True)
    runfiles = ctx.runfiles([ctx.file.binary]).merge(ctx.attr.test[DefaultInfo].default_runfiles)
    return [DefaultInfo(executable = script, runfiles = runfiles), ctx.attr.test[RunEnvironmentInfo]]

_race_test = rule(
    implementation = _race_test_impl,
    doc = "A go_test by another program.",
    test = True,
    attrs = {
        "binary": attr.label(mandatory = True, allow_single_file = True, doc = "The program."),
        "test": attr.label(mandatory = True, providers = [RunEnvironmentInfo], doc = "The go_test, whose data and variables it gets."),
    },
)

def race_tests(name, tests, **kwargs):
    """Runs tests with the race detector, as the tests NAME_PACKAGE.

    Args:
      name: of the suite.
      tests: labels of go_tests, //PACKAGE:NAME, no two of whose packages end with the same name. Their tests are in
        the package itself: a go_path has no files of a package NAME_test.
      **kwargs: more attributes of the tests.
    """
    packages = [t.partition(":")[0].removeprefix("//") for t in tests]
    path, binaries = name + "_path", name + "_binaries"
    go_path(
        name = path,
        testonly = True,
        include_data = False,
        tags = ["manual"],
        deps = tests,
    )
    outs = {t: "{}/{}.test".format(binaries, p.split("/")[-1]) for t, p in zip(tests, packages)}
    _race_binaries(
        name = binaries,
        testonly = True,
        outs = outs.values(),
        packages = [_MODULE + p for p in packages],
        path = path,
        tags = ["manual"],
    )
    for test, out in outs.items():
        _race_test(
            name = "{}_{}".format(name, out.split("/")[-1].removesuffix(".test")),
            binary = out,
            test = test,
            **kwargs
        )
