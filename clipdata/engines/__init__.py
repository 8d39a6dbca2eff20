"""Where map work runs: engines take tasks, each "fill this fragment", and give back what was filled.

An engine commits nothing; the job and its one commit are the same whichever engine did the work.
"""
