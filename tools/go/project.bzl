"""Third-party Go programs, each built by `go build` from its own module, its own go.sum and its own versions.

Linked through rules_go they would share one version of every dependency with each other and with
us: some do not build so, and none would be what its authors tested. A module is a published one, or
one in this workspace whose go.mod and go.sum say what is linked and in which version.
"""

load("//tools/go:sdk.bzl", "go_proxies")
load("//tools/toolroot:toolroot.bzl", "TOOLROOT_ATTRS")

_SDK = Label("@go_linux_amd64//:ROOT")

def _go_source_impl(ctx):
    module, version = ctx.attr.module, ctx.attr.version
    go = _go(ctx)
    ctx.download_and_extract(
        url = ["{}/{}/@v/{}.zip".format(p, module, version) for p in go.proxies],
        output = "src",
        sha256 = ctx.attr.sha256,
        stripPrefix = "{}@{}".format(module, version),
    )

    # Vendoring would also fetch what only the tests import.
    _run(ctx, ["find", "src", "-name", "*_test.go", "-type", "f", "-delete"], {})
    _vendor(ctx, go)
    ctx.file("SOURCE", "{} {} {}\n".format(module, version, ctx.attr.sha256))
    ctx.file("BUILD.bazel", """exports_files(["SOURCE"])\n""")
    return ctx.repo_metadata(reproducible = True) if hasattr(ctx, "repo_metadata") else None

def _go_module_impl(ctx):
    go_mod = ctx.path(ctx.attr.go_mod)
    folder = go_mod.dirname
    text, sums, imports = ctx.read(go_mod), ctx.read(folder.get_child("go.sum")), ctx.read(ctx.attr.imports)
    ctx.file("src/go.mod", text)
    ctx.file("src/go.sum", sums)
    ctx.file("src/imports.go", imports)
    for line in text.splitlines():
        name = line.partition(" => ./")[2]
        if name:
            ctx.watch_tree(folder.get_child(name))
            _run(ctx, ["cp", "-r", str(folder.get_child(name)), "src/" + name], {})
    _vendor(ctx, _go(ctx))
    ctx.file("SOURCE", "\n".join([text, sums, imports]))
    ctx.file("versions.bzl", "VERSIONS = " + json.encode_indent(_versions(text)) + "\n")
    ctx.file("BUILD.bazel", """exports_files(["SOURCE"])\n""")
    return ctx.repo_metadata(reproducible = True) if hasattr(ctx, "repo_metadata") else None

def _versions(go_mod):
    """The modules that a go.mod asks for itself: their versions."""
    versions = {}
    for line in go_mod.splitlines():
        requirement, _, comment = line.partition(" // ")
        words = [w for w in requirement.removeprefix("require ").replace("\t", " ").split(" ") if w]
        if len(words) == 2 and words[1].startswith("v") and comment != "indirect":
            versions[words[0]] = words[1]
    return versions

def _go_imports_impl(ctx):
    folder = ctx.path(ctx.attr.go_mod).dirname
    ctx.watch_tree(folder)
    module = ctx.read(folder.get_child("go.mod")).split("module ")[1].split("\n")[0]
    imports = {}
    for path in _run(ctx, ["find", str(folder), "-name", "*.go", "-type", "f"], {}).splitlines():
        inside = False
        for line in ctx.read(path, watch = "no").splitlines():
            if (inside or line.startswith("import ")) and line.count('"') == 2:
                imported = line.split('"')[1]
                if "." in imported.split("/")[0] and not (imported + "/").startswith(module + "/"):
                    imports[imported] = True
            inside = (inside or line.startswith("import (")) and line != ")"
    ctx.file("imports.go", "package program\n\nimport (\n{})\n".format("".join(['\t_ "{}"\n'.format(i) for i in sorted(imports)])))
    ctx.file("BUILD.bazel", """exports_files(["imports.go"])\n""")
    return ctx.repo_metadata(reproducible = True) if hasattr(ctx, "repo_metadata") else None

def _go(ctx):
    root = ctx.path(_SDK).dirname
    program = str(root.get_child("bin").get_child("go"))
    return struct(root = str(root), program = program, proxies = go_proxies(ctx, program))

def _vendor(ctx, go):
    """Vendors the dependencies of the module in src/."""
    sums = ctx.read("src/go.sum")
    ctx.report_progress("go mod vendor")
    _run(ctx, [go.program, "mod", "vendor"], {
        "GOCACHE": str(ctx.path("cache")),
        "GOENV": "off",
        "GOFLAGS": "-modcacherw",
        "GOMODCACHE": str(ctx.path("mod")),
        "GOPROXY": ",".join(go.proxies),
        "GOROOT": go.root,
        "GOSUMDB": "off",  # go.sum pins what is fetched
        "GOTOOLCHAIN": "local",
        "GOWORK": "off",
    })
    if ctx.read("src/go.sum") != sums:
        fail("{}: its go.sum does not name every module it needs, so they would not be pinned".format(ctx.name))
    ctx.delete("mod")
    ctx.delete("cache")

def _run(ctx, command, environment):
    result = ctx.execute(command, environment = environment, working_directory = "src" if environment else "", timeout = 3600)
    if result.return_code:
        fail("{}: {}".format(" ".join(command), result.stderr))
    return result.stdout

_go_source = repository_rule(
    implementation = _go_source_impl,
    attrs = {
        "module": attr.string(mandatory = True, doc = "Path of the module."),
        "sha256": attr.string(mandatory = True, doc = "Of the zip that a Go module proxy serves."),
        "version": attr.string(mandatory = True, doc = "Its version, with the v."),
    },
    environ = ["GOPROXY"],
    doc = "A module's source with its dependencies vendored, in src/; the file SOURCE stands for it.",
)

_go_imports = repository_rule(
    implementation = _go_imports_impl,
    attrs = {"go_mod": attr.label(mandatory = True, allow_single_file = True, doc = "The module's go.mod; its go.sum is beside it.")},
    doc = "What the Go files of a module in this workspace import from elsewhere, as imports.go.",
)

_go_module = repository_rule(
    implementation = _go_module_impl,
    attrs = {
        "go_mod": attr.label(mandatory = True, allow_single_file = True, doc = "The module's go.mod; its go.sum is beside it."),
        "imports": attr.label(mandatory = True, allow_single_file = True, doc = "What its Go files import: imports.go of _go_imports."),
    },
    environ = ["GOPROXY"],
    doc = """The dependencies of a module in this workspace, vendored, in src/; the file SOURCE stands for them.

The module's own files are not here, so that an edit of them fetches nothing unless they import
something else. versions.bzl has VERSIONS, the versions that go.mod asks for.""",
)

def _projects_impl(ctx):
    for module in ctx.modules:
        for tag in module.tags.source:
            _go_source(name = tag.name, module = tag.module, sha256 = tag.sha256, version = tag.version)
        for tag in module.tags.module:
            _go_imports(name = tag.name + "_imports", go_mod = tag.go_mod)
            _go_module(name = tag.name, go_mod = tag.go_mod, imports = "@{}_imports//:imports.go".format(tag.name))
    return ctx.extension_metadata(reproducible = True)

projects = module_extension(
    implementation = _projects_impl,
    tag_classes = {
        "module": tag_class(attrs = {
            "go_mod": attr.label(doc = "The go.mod of a module in this workspace."),
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

# Directories are named by a file in them, which the sandbox links to. Arguments: the tool root's
# marker, or nothing; what enters it; the marker of the SDK; SOURCE; the module's own go.mod, or nothing;
# the directory of the outputs; the tool for several programs in one, and their names; what go does; its
# flags, --, and each program as NAME=PACKAGE.
_BUILD = """set -eu
root=$1 enter=$2 sdk=$(dirname "$(readlink -f "$3")") source=$(dirname "$(readlink -f "$4")")/src own=$5 out=$PWD/$6 multicall=$7 names=$8; shift 8
scratch=$(mktemp -d) && trap 'rm -rf "$scratch"' EXIT
at=$source; [ -z "$root" ] || at=/source
if [ -z "$own" ]; then ln -s "$at" "$scratch/module"; else
  cp -rL "$(dirname "$own")" "$scratch/module" && chmod -R u+w "$scratch/module" && ln -s "$at/vendor" "$scratch/module/vendor"
fi
if [ -n "$names" ]; then mkdir "$scratch/overlay" && "$multicall" "$scratch/module" "$scratch/overlay" $names; set -- "$1" -overlay="$scratch/overlay/overlay.json" "${@:2}"; fi
build='export CGO_ENABLED=$1 GOROOT=$2 HOME=$3 && cd "$3/module" && out=$4 verb=$5 && shift 5
  while [ "$1" != -- ]; do flags+=("$1"); shift; done; shift
  for p; do "$GOROOT/bin/go" $verb "${flags[@]}" -o "$out/${p%%=*}" "${p#*=}"; done'
if [ -z "$root" ]; then bash -euc "$build" bash 0 "$sdk" "$scratch" "$out" "$@"; else
  args=(); for v in GOENV GOFLAGS GOPROXY GOTOOLCHAIN GOWORK; do args+=(--env "$v=${!v}"); done
  "$enter" --no-net --root "$root" --bind "$sdk:/go" --bind "$source:$at" --rw "$scratch:/scratch" --rw "$out:/out" "${args[@]}" -- bash -euc "$build" bash 1 /go /scratch /out "$@"
fi
"""

def _go_build(ctx, programs, verb = "build", multicall = {}):
    """Builds programs, name: package, into files of those names."""
    if multicall and ctx.file.cgo_root:
        fail("several programs in one cannot be built with cgo")
    outs = [ctx.actions.declare_file(ctx.label.name + "/" + name) for name in programs]
    go_mod = [f.path for f in ctx.files.srcs if f.basename == "go.mod"]
    ctx.actions.run_shell(
        mnemonic = "GoProject",
        progress_message = "Building %{label} with go build",
        command = _BUILD,
        arguments = [
            ctx.file.cgo_root.path if ctx.file.cgo_root else "",
            ctx.executable._enter.path,
            ctx.file._sdk.path,
            ctx.file.source.path,
            sorted(go_mod, key = len)[0] if go_mod else "",  # a module may have others in its folders
            outs[0].dirname,
            ctx.executable._multicall.path,
            " ".join(["{}={}".format(name, package) for name, package in multicall.items()]),
            verb,
            "-tags=" + ",".join(ctx.attr.gotags),
            "-ldflags=" + ctx.attr.ldflags,
        ] + ["-gcflags=" + flags for flags in ctx.attr.gcflags] + [
            "--",
        ] + ["{}={}".format(name, package) for name, package in programs.items()],
        inputs = [ctx.file.source, ctx.file._sdk] + ctx.files.srcs + ctx.files.cgo_root,
        outputs = outs,
        tools = [ctx.attr._enter[DefaultInfo].files_to_run, ctx.attr._multicall[DefaultInfo].files_to_run],
        env = {
            "GOENV": "off",
            "GOFLAGS": "-mod=vendor -trimpath -buildvcs=false",
            "GOPROXY": "off",
            "GOTOOLCHAIN": "local",
            "GOWORK": "off",
        },
        resource_set = _two_cpus,  # go build uses every processor
    )
    return [DefaultInfo(files = depset(outs), executable = outs[0] if len(outs) == 1 else None)]

def _two_cpus(_os, _inputs):
    return {"cpu": 2, "memory": 2000}

_BUILD_ATTRS = {
    "cgo_root": attr.label(allow_single_file = True, doc = "Marker of a tool root with a C compiler, for programs with cgo; without one there is no cgo."),
    "gcflags": attr.string_list(doc = "Flags of the Go compiler, PATTERN=FLAGS; of those that match a package the last counts. all=-l, no inlining, is 16 % smaller when compressed."),
    "gotags": attr.string_list(doc = "Build tags."),
    "ldflags": attr.string(default = "-s -w", doc = "Flags of the Go linker."),
    "source": attr.label(mandatory = True, allow_single_file = True, doc = "SOURCE of the module's repository."),
    "srcs": attr.label_list(allow_files = True, doc = "The files of a module in this workspace, with its go.mod."),
    "_multicall": attr.label(default = "//tools/go/cmd/multicall", cfg = "exec", executable = True),
    "_sdk": attr.label(default = _SDK, allow_single_file = True),
} | TOOLROOT_ATTRS

def _go_programs_impl(ctx):
    return _go_build(ctx, ctx.attr.programs)

go_programs = rule(
    implementation = _go_programs_impl,
    doc = "Programs that a module has or depends on, built by plain `go build`.",
    attrs = _BUILD_ATTRS | {
        "programs": attr.string_dict(mandatory = True, doc = "Name of each program: its package, or ./ and its folder in the module."),
    },
)

def _go_multicall_program_impl(ctx):
    return _go_build(ctx, {ctx.attr.file: "./multicall"}, multicall = ctx.attr.programs)

go_multicall_program = rule(
    implementation = _go_multicall_program_impl,
    doc = """Several programs in one file: the one that it is called by the name of runs.

None of them is changed: see //tools/go/cmd/multicall. A program that starts itself again by
/proc/self/exe must have the file's name; the others are symbolic links.""",
    attrs = _BUILD_ATTRS | {
        "file": attr.string(mandatory = True, doc = "Name of the file."),
        "programs": attr.string_dict(mandatory = True, doc = "As in go_programs."),
    },
)

def _go_program_test_impl(ctx):
    info = _go_build(ctx, {ctx.label.name: ctx.attr.package}, verb = "test -c")[0]
    environment = {name: ctx.expand_location(value, ctx.attr.data) for name, value in ctx.attr.env.items()}
    return [
        DefaultInfo(executable = info.files.to_list()[0], files = info.files, runfiles = ctx.runfiles(ctx.files.data)),
        RunEnvironmentInfo(environment = environment),
    ]

go_program_test = rule(
    implementation = _go_program_test_impl,
    doc = "The tests of a package in a module of this workspace, which is not part of the main one.",
    attrs = _BUILD_ATTRS | {
        "data": attr.label_list(allow_files = True, doc = "What the tests read or run."),
        "env": attr.string_dict(doc = "Variables of the tests; $(rootpath LABEL) is where something in data is, from where they start."),
        "package": attr.string(mandatory = True, doc = "./ and its folder in the module."),
    },
    test = True,
)
