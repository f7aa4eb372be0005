"""The packages of goalsight: one importable package over the top-level folders, found and not listed."""

from setuptools import find_namespace_packages, setup

ROOMS = ("agents", "assets", "envs", "eval", "pretrain")

packages = find_namespace_packages(include=["goalsight", "goalsight.*"])
for room in ROOMS:
    packages += [f"goalsight.{name}" for name in find_namespace_packages(include=[room, f"{room}.*"])]

setup(packages=packages, package_dir={"goalsight": "goalsight"} | {f"goalsight.{room}": room for room in ROOMS})
