"""The embedded host has the webui's interface, and the script uses nothing else of it.

Compared with a record of the webui's signatures, `shared/webui-contract.json` beside the
repository (or what WEBUI_CONTRACT names): version -> files -> classes and functions -> arguments.
"""

import ast
import importlib
import inspect
import json
import os
from pathlib import Path

import pytest

from standalone.runner import HOST_MODULES, ROOT, load_script_class

RECORD = Path(os.environ.get("WEBUI_CONTRACT", ROOT.parent / "shared" / "webui-contract.json"))
MODULES = sorted(path.stem for path in (HOST_MODULES / "modules").glob("[!_]*.py"))

pytestmark = pytest.mark.skipif(not RECORD.is_file(), reason=f"there is no {RECORD.name}")


@pytest.fixture(scope="module")
def record():
    """The files of each version."""
    return {version: entry["files"] for version, entry in json.loads(RECORD.read_text()).items()}


@pytest.fixture(scope="module")
def script_class():
    return load_script_class()


def written(function):
    """A recorded signature as `str(inspect.signature(...))` writes it, without the first self."""
    arguments = [a for a in function["args"] if a[0] not in ("self", "cls")]
    parts = ["=".join(argument) for argument in arguments]
    if "vararg" in function:
        parts.append("*" + function["vararg"])
    elif "kwonly" in function:
        parts.append("*")
    parts += ["=".join(argument) for argument in function.get("kwonly", [])]
    if "kwarg" in function:
        parts.append("**" + function["kwarg"])
    return f"({', '.join(parts)})"


def plain_signature(function):
    """Names and defaults only: the webui has no annotations there."""
    signature = inspect.signature(function)
    parameters = [
        p.replace(annotation=p.empty) for p in signature.parameters.values() if p.name != "self"
    ]
    return str(signature.replace(parameters=parameters, return_annotation=signature.empty))


def host_surface(module):
    """(name, function) of what a host module defines, methods as "Class.method"."""
    for name, value in vars(module).items():
        if name.startswith("_") or getattr(value, "__module__", None) != module.__name__:
            continue
        if inspect.isfunction(value):
            yield name, value
        if not inspect.isclass(value):
            continue
        for method, function in vars(value).items():
            if inspect.isfunction(function) and not method.startswith("_"):
                yield f"{name}.{method}", function
        if "__init__" in vars(value) and value.__init__ is not object.__init__:
            yield f"{name}.__init__", value.__init__


def fields_of(name, classes):
    """The recorded fields of a dataclass, and of those that it is made from in its module."""
    entry = classes.get(name)
    if entry is None:
        return set()
    return {*entry["fields"]}.union(*(fields_of(base, classes) for base in entry["bases"]))


def named_parameters(function):
    """All but **values."""
    parameters = inspect.signature(function).parameters.values()
    return [each.name for each in parameters if each.kind is not each.VAR_KEYWORD]


@pytest.mark.parametrize("name", MODULES)
def test_what_the_host_defines_has_the_webuis_signature(record, name):
    file = record["1.10.1"].get(f"modules/{name}.py")
    if file is None:
        pytest.skip("this module was not recorded")
    load_script_class()  # puts the host's modules on the path
    known = dict(file["functions"])
    for class_name, entry in file["classes"].items():
        known |= {f"{class_name}.{method}": f for method, f in entry["methods"].items()}
        # InputAccordion is a class there and a function here
        known[class_name] = entry["methods"].get("__init__")
    for function_name, function in host_surface(importlib.import_module(f"modules.{name}")):
        assert function_name in known, f"the webui's {name} has no {function_name}"
        if known[function_name] is None:  # a dataclass there
            fields = {"self", *fields_of(function_name, file["classes"])}
            assert {*named_parameters(function)} <= fields
            continue
        assert plain_signature(function) == written(known[function_name]), function_name


@pytest.mark.parametrize("version", ["1.7.0", "1.8.0", "1.9.0", "1.10.1"])
def test_the_scripts_callbacks_take_what_each_version_gives(record, script_class, version):
    methods = record[version]["modules/scripts.py"]["classes"]["Script"]["methods"]
    own = {name: value for name, value in vars(script_class).items() if inspect.isfunction(value)}
    callbacks = {name for name in own if not name.startswith("_")}
    # what a version does not know it does not call: only the last may miss none
    newer = {"process_before_every_sampling"} if version != "1.10.1" else set()
    assert callbacks - newer <= methods.keys()
    for name in callbacks & methods.keys():
        needed = [argument for argument, *_ in methods[name]["args"]]
        positional = [*needed, "enabled", "method"] if "vararg" in methods[name] else needed
        details = dict(batch_number=0, prompts=[]) if "kwarg" in methods[name] else {}
        inspect.signature(own[name]).bind(*positional, **details)  # raises TypeError


@pytest.mark.parametrize("version", ["1.7.0", "1.8.0", "1.9.0", "1.10.1"])
def test_each_version_has_the_functions_that_the_script_calls(record, version):
    tree = ast.parse((ROOT / "scripts" / "slothful_attention.py").read_text("utf-8"))
    imported = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "modules"
        for alias in node.names
    }
    calls = [
        node.func
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    ]
    used = {(c.value.id, c.attr) for c in calls if getattr(c.value, "id", None) in imported}
    assert ("script_callbacks", "on_cfg_denoiser") in used
    for module, name in used:
        file = record[version][f"modules/{module}.py"]
        assert name in file["functions"], f"{version}: modules.{module} has no {name}"
