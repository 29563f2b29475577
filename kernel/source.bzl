"""The kernel's source: Debian's, locked and patched, or a tree of your own."""

load("//tools/debian:debian.bzl", "DEBIAN_SH", "fetch_debs", "run_debian_sh")

# Files that no configuration of ours compiles. Kconfig files and Makefiles stay, so the
# configuration is the same with and without the rest.
_UNUSED = [
    "Documentation/*.[a-z]*",
    "arch/*.dts*",
] + [
    directory + "/*.[chS]"
    for directory in ["drivers/gpu/drm/*", "drivers/media", "drivers/staging", "samples", "sound"] +
                     ["arch/" + a for a in ["alpha", "arc", "arm", "csky", "hexagon", "loongarch", "m68k", "microblaze", "mips", "nios2", "openrisc", "parisc", "powerpc", "riscv", "s390", "sh", "sparc", "um", "xtensa"]]
]

def _linux_source_impl(ctx):
    # Named before anything is fetched: Bazel starts a rule over when a label turns out to be new.
    lock = ctx.path(ctx.attr.lock)
    script = ctx.path(DEBIAN_SH)
    patches = [ctx.path(p) for p in ctx.attr.patches]
    tree = ctx.getenv("EMBER_LINUX")
    version, source = "0", tree
    if tree:
        if not tree.startswith("/") or not ctx.path(tree + "/Kconfig").exists:
            fail("EMBER_LINUX={} is not the absolute path of a kernel's tree".format(tree))
        ctx.watch_tree(tree)
        ctx.symlink(tree, "src")
        _bash(ctx, 'cd -P src && find . -name .git -prune -o -type f -printf "%p %s %T@\\n" | sort | sha256sum >"$OLDPWD/SOURCE"')
    else:
        deb = fetch_debs(ctx, lock, "debs")[0]
        version = run_debian_sh(ctx, "version", "debs/{}.deb".format(deb.sha256))
        source = "Debian {} {}, locked with sha256 {}, and kernel/patches".format(deb.name, version, deb.sha256)
        ctx.report_progress("unpacking")
        _bash(
            ctx,
            """mkdir src
            bash "$1" data "$2" | tar -xO --wildcards './usr/src/*.tar.xz' | tar -xJ -C src --strip-components 1 "${@:3}"
            """,
            script,
            "debs/{}.deb".format(deb.sha256),
            *["--exclude=linux-source-*/" + pattern for pattern in _UNUSED]
        )
        ctx.delete("debs")
        for patch in patches:
            _bash(ctx, 'patch -d src -p1 --fuzz=0 --no-backup-if-mismatch <"$1"', patch)
        ctx.file("SOURCE", "\n".join([ctx.read(lock)] + [ctx.read(p) for p in patches] + _UNUSED))
    ctx.file("component.json", json.encode_indent({
        "license": "GPL-2.0-only WITH Linux-syscall-note",
        "name": "linux",
        "purl": "pkg:generic/linux@" + version,
        "source": source,
        "version": version,
    }))
    ctx.file("BUILD.bazel", """exports_files(["SOURCE", "component.json"])\n""")
    return ctx.repo_metadata(reproducible = not tree) if hasattr(ctx, "repo_metadata") else None

def _bash(ctx, command, *args):
    result = ctx.execute(["bash", "-euo", "pipefail", "-c", command, "bash"] + list(args), timeout = 3600)
    if result.return_code:
        fail("preparing the kernel's source: {}{}".format(result.stdout, result.stderr))

_linux_source = repository_rule(
    implementation = _linux_source_impl,
    attrs = {
        "lock": attr.label(mandatory = True, allow_single_file = True, doc = "A lock of Debian's linux-source package."),
        "patches": attr.label_list(allow_files = [".patch"], doc = "Patches with -p1 paths, applied in order, without fuzz."),
    },
    environ = ["EMBER_LINUX", "EMBER_LOCKED"],
    doc = """The kernel's source in src/; the file SOURCE changes when it does and stands for it.

Bazel's --repo_env=EMBER_LINUX=DIR takes the tree DIR as it is instead, without the patches.""",
)

def _linux_impl(ctx):
    for module in ctx.modules:
        for tag in module.tags.source:
            _linux_source(name = tag.name, lock = tag.lock, patches = tag.patches)
    return ctx.extension_metadata(reproducible = True)

linux = module_extension(
    implementation = _linux_impl,
    tag_classes = {
        "source": tag_class(attrs = {
            "lock": attr.label(mandatory = True, doc = "A lock of Debian's linux-source package."),
            "name": attr.string(mandatory = True, doc = "Name of the repository."),
            "patches": attr.label_list(doc = "Patches with -p1 paths, applied in order, without fuzz."),
        }),
    },
)
