"""A run as people see it: the live view in the terminal, the table at its end, and the page it leaves behind.

Reads run folders and tables of episodes; knows metrics and intervals, and neither models nor configs.
"""
