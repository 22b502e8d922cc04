"""Jobs: one module for each value of ``job=``. Each has a function ``run(cfg)`` that returns an exit status."""
