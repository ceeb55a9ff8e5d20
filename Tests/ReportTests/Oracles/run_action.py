"""Runs the shell steps of ci/github/action.yml or ci/gitlab/heapsum.yml as their services do, with a YAML parser that is
not ours.

usage: run_action.py github|gitlab FILE NAME=VALUE…

The values are the action's inputs, or the job's variables. Steps that use other actions are left out, and printed. Ends
with the status of the first step that fails; after it only steps with `if: always()` run.
"""

import os
import re
import subprocess
import sys

import yaml

kind, path, *values = sys.argv[1:]
values = dict(value.split("=", 1) for value in values)
with open(path) as file:
    text = file.read()
document = yaml.safe_load(text)


def run(script, environment=None):
    return subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script], env={**os.environ, **(environment or {})}, check=False
    ).returncode


def github():
    assert set(document) == {"name", "description", "inputs", "runs"} and document["runs"]["using"] == "composite"
    inputs = {name: value.get("default", "") for name, value in document["inputs"].items()}
    required = {name for name, value in document["inputs"].items() if value.get("required")}
    assert required <= set(values) <= set(inputs), values
    inputs.update(values)

    def evaluated(text):
        return re.sub(r"\$\{\{ inputs\.([a-z-]+) \}\}", lambda match: inputs[match[1]], text)

    # An expression inside a script would let a branch's name run commands.
    used = set(re.findall(r"inputs\.([a-z-]+)", text))
    assert used == set(inputs), used ^ set(inputs)
    status = 0
    for step in document["runs"]["steps"]:
        assert step["name"] and ("uses" in step) != ("run" in step), step
        if "uses" in step:
            assert re.fullmatch(r"actions/[a-z-]+@v\d+", step["uses"]), step
            print("left out:", step["uses"])
            continue
        assert step["shell"] == "bash" and "${{" not in step["run"], step
        condition = step.get("if", "")
        assert condition in ("", "steps.base.outputs.cache-hit != 'true'"), condition
        if status or condition and os.path.isdir("heapsum-base"):
            continue
        environment = {name: evaluated(value) for name, value in step.get("env", {}).items()}
        assert not any("${{" in value for value in environment.values()), environment
        status = run(step["run"], environment)
        if status:
            print("failed:", step["name"])
    return status


def gitlab():
    (name, job), = document.items()
    assert name == ".heapsum"
    assert set(job) == {"variables", "rules", "cache", "script", "artifacts"}, set(job)
    assert set(values) <= set(job["variables"]), values
    variables = {name: os.path.expandvars(str(value)) for name, value in job["variables"].items()}
    # All items of a job's script are lines of one shell.
    return run("\n".join(job["script"]), {**variables, **values})


sys.exit({"github": github, "gitlab": gitlab}[kind]())
