"""Exporters: formats that recordings are given away in, one file each; a new one is one file and one line here."""

from goalsight.base.registry import Registry

EXPORTERS = Registry("format", {"lerobot": "goalsight.pretrain.data.exporters.lerobot:LeRobotExporter"})
