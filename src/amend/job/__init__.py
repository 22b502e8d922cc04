"""Run the jobs: one module for each value of ``job=``, with a function ``run(cfg)`` that returns an exit status."""
