"""The algorithms, one file for each value of ``algo=``.

Each algorithm chooses its advantages, policy loss, KL estimator and loss aggregation from ``ops``. No algorithm imports
another; they share only ``base``, ``gradient_update``, ``imitation``, ``prompting`` and ``context``.
"""
