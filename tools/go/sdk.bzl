"""The Go SDK, from wherever this machine gets Go: its module proxy, else the Go project's own site.

A module proxy serves the toolchain as the module golang.org/toolchain, which `go` itself uses to
switch versions; it holds the same files as the archive that the Go project publishes.
"""

def go_proxies(ctx, go = None):
    """The Go module proxies to use, in order: the environment's, else what the host's Go says.

    Args:
      ctx: the repository context.
      go: the go program to ask when neither names one.

    Returns:
      A list of addresses; empty only where go is not given.
    """
    value = ctx.getenv("GOPROXY") or ""
    for program in [ctx.which("go"), go]:
        if not value and program:
            value = ctx.execute([program, "env", "GOPROXY"], environment = {"GOTOOLCHAIN": "local", "HOME": ctx.getenv("HOME") or "/"}).stdout.strip()
    return [p.rstrip("/") for p in value.replace("|", ",").split(",") if p.startswith("http")]

def _go_sdk_impl(ctx):
    version, platform = ctx.attr.version, ctx.attr.platform
    module = "golang.org/toolchain@v0.0.1-go{}.{}".format(version, platform.replace("_", "-"))
    proxies = go_proxies(ctx)
    if proxies:
        ctx.download_and_extract(
            url = [p + "/" + module.replace("@", "/@v/") + ".zip" for p in proxies],
            sha256 = ctx.attr.module_sha256,
            stripPrefix = module,
        )
    else:
        ctx.download_and_extract(
            url = "https://go.dev/dl/go{}.{}.tar.gz".format(version, platform.replace("_", "-")),
            sha256 = ctx.attr.archive_sha256,
            stripPrefix = "go",
        )

    # A module zip has neither modes nor go.mod files below its root; both archives must end alike.
    result = ctx.execute(["bash", "-euc", """
        find . -name _go.mod | while read -r f; do mv "$f" "${f%_go.mod}go.mod"; done
        rm -rf api doc misc test
        chmod -R +x bin pkg/tool
    """])
    if result.return_code:
        fail("preparing the Go SDK: " + result.stderr)
    ctx.file("ROOT", "go{} {}\n".format(version, platform))
    ctx.file("BUILD.bazel", """exports_files(["ROOT", "bin/go", "bin/gofmt"])\n""")
    return ctx.repo_metadata(reproducible = True) if hasattr(ctx, "repo_metadata") else None

_go_sdk = repository_rule(
    implementation = _go_sdk_impl,
    attrs = {
        "archive_sha256": attr.string(mandatory = True, doc = "Of the release's archive, where there is no module proxy."),
        "module_sha256": attr.string(mandatory = True, doc = "Of the zip of the module golang.org/toolchain."),
        "platform": attr.string(mandatory = True, doc = "As in linux_amd64."),
        "version": attr.string(mandatory = True, doc = "Of Go, without go."),
    },
)

def _sdk_impl(ctx):
    for module in ctx.modules:
        for tag in module.tags.download:
            _go_sdk(
                name = tag.name,
                archive_sha256 = tag.archive_sha256,
                module_sha256 = tag.module_sha256,
                platform = tag.platform,
                version = tag.version,
            )
    return ctx.extension_metadata(reproducible = True)

sdk = module_extension(
    implementation = _sdk_impl,
    tag_classes = {
        "download": tag_class(attrs = {
            "archive_sha256": attr.string(doc = "sha256 of go<version>.<platform>.tar.gz, as the Go project publishes it."),
            "module_sha256": attr.string(doc = "sha256 of the zip of golang.org/toolchain, as a module proxy serves it."),
            "name": attr.string(doc = "Name of the repository; go_sdk.wrap takes its ROOT."),
            "platform": attr.string(doc = "GOOS_GOARCH, for example linux_amd64."),
            "version": attr.string(doc = "Go's version without the leading go."),
        }),
    },
)
