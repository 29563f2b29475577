"""Debian packages as Bazel repositories: tool roots and package contents, from a lock.

A lock is made by `bazel run //tools/debian:lock` from the .spec beside it. Both kinds of
repository are filled by debian.sh, which also makes the private root behind ./bazelw.
"""

DEBIAN_SH = Label("//tools/debian:debian.sh")

# Part of every tool root's marker: to be raised when the same lock comes to unpack differently.
_UNPACKING = "1"

def read_lock(text):
    """The packages of a lock: a list of structs of name, version, archive, path, size, sha256."""
    debs = []
    for line in text.splitlines():
        if line.startswith("deb "):
            name, version, archive, path, size, sha256 = line.split(" ")[1:]
            debs.append(struct(name = name, version = version, archive = archive, path = path, size = int(size), sha256 = sha256))
    return debs

def run_debian_sh(ctx, *args):
    """Runs debian.sh and fails with its message; its warnings are shown."""
    result = ctx.execute(
        ["bash", ctx.path(DEBIAN_SH)] + list(args),
        environment = {"EMBER_LOCKED": ctx.getenv("EMBER_LOCKED") or ""},
        timeout = 3600,
    )
    if result.return_code:
        fail(result.stderr.strip())
    if result.stderr:
        print(result.stderr.strip())  # buildifier: disable=print
    return result.stdout.strip()

def fetch_debs(ctx, lock, directory):
    """Downloads what a lock names as <directory>/<sha256>.deb.

    Args:
      ctx: the repository context.
      lock: the path of the lock.
      directory: where the files go, below the repository.

    Returns:
      The locked packages, as read_lock gives them.
    """
    debs = read_lock(ctx.read(lock))
    mirror = {a: run_debian_sh(ctx, "mirror", a) for a in {d.archive: None for d in debs}}
    ctx.report_progress("fetching {} Debian packages, {} MB".format(len(debs), sum_sizes(debs) // 1000000))
    pending = [
        (d, ctx.download(
            url = "{}/{}".format(mirror[d.archive], d.path),
            output = "{}/{}.deb".format(directory, d.sha256),
            sha256 = d.sha256,
            allow_fail = True,
            block = False,
        ))
        for d in debs
    ]
    missing = [d.name for d, download in pending if not download.wait().success]
    if missing:
        run_debian_sh(ctx, "fetch", ctx.path(lock), directory, *missing)
    return debs

def sum_sizes(debs):
    total = 0
    for d in debs:
        total += d.size
    return total

def _debian_root_impl(ctx):
    lock = ctx.path(ctx.attr.lock)
    ctx.path(DEBIAN_SH)  # asked for before the downloads, which a label found late would repeat
    fetch_debs(ctx, lock, "debs")
    ctx.report_progress("unpacking")
    run_debian_sh(ctx, "unpack", lock, "debs", "root")
    ctx.delete("debs")
    ctx.file("ROOT", "unpacking {}\n{}".format(_UNPACKING, ctx.read(lock)))
    ctx.file("BUILD.bazel", """exports_files(["ROOT"])\n""")
    return ctx.repo_metadata(reproducible = True) if hasattr(ctx, "repo_metadata") else None

_debian_root = repository_rule(
    implementation = _debian_root_impl,
    attrs = {"lock": attr.label(mandatory = True, allow_single_file = True, doc = "The lock, from tools/debian/lock.")},
    environ = ["EMBER_LOCKED"],
    doc = """A tool root: the packages of a lock, unpacked into root/, and beside it the file ROOT.

ROOT changes when what is unpacked does, so it stands for the whole tree where an action
names its inputs: ten thousand files would make every action slow.""",
)

def _debian_packages_impl(ctx):
    lock = ctx.path(ctx.attr.lock)
    versions = {}
    for d in fetch_debs(ctx, lock, "debs"):
        deb = "debs/{}.deb".format(d.sha256)
        versions[d.name] = run_debian_sh(ctx, "version", deb)
        result = ctx.execute(["bash", "-euc", 'bash "$0" data "$1" >"$2"', ctx.path(DEBIAN_SH), deb, d.name + ".tar"])
        if result.return_code:
            fail("unpacking {}: {}".format(d.name, result.stderr))
    ctx.delete("debs")
    ctx.file("versions.bzl", "VERSIONS = " + json.encode_indent(versions) + "\n")
    ctx.file("BUILD.bazel", "exports_files({})\n".format([name + ".tar" for name in versions]))
    return ctx.repo_metadata(reproducible = True) if hasattr(ctx, "repo_metadata") else None

_debian_packages = repository_rule(
    implementation = _debian_packages_impl,
    attrs = {"lock": attr.label(mandatory = True, allow_single_file = True, doc = "The lock, from tools/debian/lock.")},
    environ = ["EMBER_LOCKED"],
    doc = "The files of each package of a lock as <name>.tar, for //tools/apk to make packages of; versions.bzl has VERSIONS.",
)

def _debian_impl(ctx):
    for module in ctx.modules:
        for tag in module.tags.root:
            _debian_root(name = tag.name, lock = tag.lock)
        for tag in module.tags.packages:
            _debian_packages(name = tag.name, lock = tag.lock)
    return ctx.extension_metadata(reproducible = True)

_TAG = {
    "lock": attr.label(mandatory = True, doc = "The lock, made by `bazel run //tools/debian:lock`."),
    "name": attr.string(mandatory = True, doc = "Name of the repository."),
}

debian = module_extension(
    implementation = _debian_impl,
    tag_classes = {
        "packages": tag_class(attrs = _TAG, doc = "Package contents, one tar each."),
        "root": tag_class(attrs = _TAG, doc = "A tool root that actions enter."),
    },
)
