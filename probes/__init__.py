"""Watch a model's layers and judge what they carry: sites, capture, probes, statistics, health.

This package knows arrays and hooks; it never loads a model, opens a task or writes a file.
Only `probes.capture` and `probes.fit` import torch.
"""
