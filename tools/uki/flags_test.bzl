"""Tests of what the flags for keys make of a unified kernel image. They look at its actions and build nothing."""

load("@bazel_skylib//lib:unittest.bzl", "analysistest", "asserts")

_NONE = "//tools/uki:none"

def _flags(key = _NONE, certificate = _NONE):
    return {str(Label("//tools/uki:" + flag)): str(Label(label)) for flag, label in {"certificate": certificate, "key": key}.items()}

_KEY = "//os:testdata/secureboot.key"
_CERTIFICATE = "//os:testdata/secureboot.pem"

def _signing(env):
    return [a for a in analysistest.target_actions(env) if a.mnemonic == "UkiSign"]

def _unsigned_impl(ctx):
    env = analysistest.begin(ctx)
    asserts.equals(env, [], _signing(env))
    return analysistest.end(env)

_unsigned_test = analysistest.make(_unsigned_impl, config_settings = _flags())

def _signed_impl(ctx):
    env = analysistest.begin(ctx)
    image = analysistest.target_under_test(env)
    actions = _signing(env)
    asserts.equals(env, image[DefaultInfo].files.to_list(), [f for a in actions for f in a.outputs.to_list()])
    inputs = [f for a in actions for f in a.inputs.to_list()]
    for label in [_KEY, _CERTIFICATE]:
        asserts.true(env, Label(label) in [f.owner for f in inputs], "{} is no input of the signature".format(label))
    for unsigned in image[OutputGroupInfo].unsigned.to_list():
        asserts.true(env, unsigned in inputs, "something else than {} is signed".format(unsigned))
    return analysistest.end(env)

_signed_test = analysistest.make(_signed_impl, config_settings = _flags(_KEY, _CERTIFICATE))

def _refused_impl(ctx):
    env = analysistest.begin(ctx)
    asserts.expect_failure(env, "give both")
    return analysistest.end(env)

_no_certificate_test = analysistest.make(_refused_impl, expect_failure = True, config_settings = _flags(key = _KEY))
_no_key_test = analysistest.make(_refused_impl, expect_failure = True, config_settings = _flags(certificate = _CERTIFICATE))

def flags_test(name, uki):
    """Tests of a uki, with each combination of the flags.

    Args:
      name: of the suite.
      uki: the target.
    """
    tests = {
        "no_certificate": _no_certificate_test,
        "no_key": _no_key_test,
        "signed": _signed_test,
        "unsigned": _unsigned_test,
    }
    for part, test in tests.items():
        test(name = "{}_{}".format(name, part), target_under_test = uki)
    native.test_suite(name = name, tests = ["{}_{}".format(name, part) for part in tests])
