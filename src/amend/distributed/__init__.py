"""Distributed training: collective operations, one process per device, FSDP2 and CPU threads."""
