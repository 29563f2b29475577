"""Rules for APK packages (apk-tools 2, which apko composes images of)."""

ApkInfo = provider(
    doc = "A package.",
    fields = {
        "apk": "The package, a File.",
        "name": "Its name.",
        "version": "Its version, as apk compares them.",
    },
)

_KEY = attr.label(
    default = "//image:key",
    allow_single_file = True,
    doc = "RSA private key, PEM; the signature carries its base name with .pub appended.",
)
_APK = attr.label(default = "//tools/apk/cmd/apk", cfg = "exec", executable = True)

def _contents(ctx):
    contents = []
    for attribute, mode in [(ctx.attr.files, "644"), (ctx.attr.programs, "755")]:
        for target, path in attribute.items():
            files = target[DefaultInfo].files.to_list()
            if len(files) != 1:
                fail("{}: {} is {} files; give one".format(ctx.label, target.label, len(files)))
            contents.append({"type": "file", "path": path, "source": files[0].path, "mode": mode})
    for path, target in ctx.attr.symlinks.items():
        contents.append({"type": "symlink", "path": path, "target": target})
    for path, mode in ctx.attr.directories.items():
        contents.append({"type": "directory", "path": path, "mode": mode})
    if ctx.file.tar:
        contents.append({
            "type": "tar",
            "source": ctx.file.tar.path,
            "include": ctx.attr.tar_include,
            "exclude": ctx.attr.tar_exclude,
            "rename": ctx.attr.tar_rename,
        })
    return contents

def _apk_package_impl(ctx):
    package = ctx.attr.package or ctx.label.name
    apk = ctx.actions.declare_file("{}-{}.apk".format(package, ctx.attr.version))
    spec = ctx.actions.declare_file(ctx.label.name + ".spec.json")
    ctx.actions.write(spec, json.encode_indent({
        "name": package,
        "version": ctx.attr.version,
        "arch": "x86_64",
        "description": ctx.attr.description,
        "url": ctx.attr.url,
        "license": ctx.attr.license,
        "origin": package,
        "depends": ctx.attr.depends,
        "contents": _contents(ctx),
    }))
    ctx.actions.run(
        executable = ctx.executable._apk,
        arguments = ["build", "--key", ctx.file.key.path, "--spec", spec.path, "--out", apk.path],
        inputs = depset(
            [spec, ctx.file.key] + ([ctx.file.tar] if ctx.file.tar else []),
            transitive = [t[DefaultInfo].files for t in ctx.attr.files.keys() + ctx.attr.programs.keys()],
        ),
        outputs = [apk],
        mnemonic = "Apk",
        progress_message = "Packaging %{label}",
    )
    return [
        DefaultInfo(files = depset([apk])),
        ApkInfo(apk = apk, name = package, version = ctx.attr.version),
    ]

apk_package = rule(
    implementation = _apk_package_impl,
    doc = "A signed APK package. Owners are root; modes are 0644, 0755 for programs and directories, and the tar's own.",
    attrs = {
        "depends": attr.string_list(doc = "Names of packages that must be installed with this one."),
        "description": attr.string(mandatory = True, doc = "One line."),
        "directories": attr.string_dict(doc = "Path: octal mode."),
        "files": attr.label_keyed_string_dict(allow_files = True, doc = "File: path in the image, without leading slash."),
        "key": _KEY,
        "license": attr.string(mandatory = True, doc = "SPDX expression of what the package holds."),
        "package": attr.string(doc = "Name of the package; the rule's name by default."),
        "programs": attr.label_keyed_string_dict(allow_files = True, cfg = "target", doc = "Like files, with mode 0755."),
        "symlinks": attr.string_dict(doc = "Path: what the link holds."),
        "tar": attr.label(allow_single_file = True, doc = "An uncompressed tar, such as a Debian package's from @debian_packages."),
        "tar_exclude": attr.string_list(doc = "Patterns of what not to take."),
        "tar_include": attr.string_list(doc = "Patterns of what to take from the tar; everything by default. One that matches nothing is an error."),
        "tar_rename": attr.string_dict(doc = "Leading directories in the tar: what they become."),
        "url": attr.string(doc = "The project's page."),
        "version": attr.string(mandatory = True, doc = "As apk compares them: 1.2.3-r0."),
        "_apk": _APK,
    },
)

def _apk_repository_impl(ctx):
    apks = [p[ApkInfo].apk for p in ctx.attr.packages] + ctx.files.fetched
    arch = ctx.label.name + "/x86_64/"
    outs = []
    for apk in apks:
        out = ctx.actions.declare_file(arch + apk.basename)
        ctx.actions.symlink(output = out, target_file = apk)
        outs.append(out)
    index = ctx.actions.declare_file(arch + "APKINDEX.tar.gz")
    ctx.actions.run(
        executable = ctx.executable._apk,
        arguments = ["index", "--key", ctx.file.key.path, "--out", index.path] + [apk.path for apk in apks],
        inputs = [ctx.file.key] + apks,
        outputs = [index],
        mnemonic = "ApkIndex",
    )
    public_key = ctx.actions.declare_file("{}/{}.pub".format(ctx.label.name, ctx.file.key.basename))
    ctx.actions.run(
        executable = ctx.executable._apk,
        arguments = ["public-key", "--key", ctx.file.key.path, "--out", public_key.path],
        inputs = [ctx.file.key],
        outputs = [public_key],
        mnemonic = "ApkKey",
    )
    return [
        DefaultInfo(files = depset(outs + [index, public_key])),
        ApkRepositoryInfo(index = index, public_key = public_key),
    ]

ApkRepositoryInfo = provider(
    doc = "A repository of packages.",
    fields = {
        "index": "Its signed index, a File in <repository>/<arch>/.",
        "public_key": "What the index is checked with, a File.",
    },
)

apk_repository = rule(
    implementation = _apk_repository_impl,
    doc = "A repository that apk and apko can install from: packages, their signed index, and the public key.",
    attrs = {
        "fetched": attr.label_list(allow_files = True, doc = "Packages from elsewhere, pinned by whoever fetched them: their own signatures are not asked."),
        "key": _KEY,
        "packages": attr.label_list(providers = [ApkInfo], doc = "The packages, from apk_package."),
        "_apk": _APK,
    },
)
