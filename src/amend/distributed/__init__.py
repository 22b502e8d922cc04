"""Distributed training: collectives, one process for each device, FSDP2 and CPU threads."""
