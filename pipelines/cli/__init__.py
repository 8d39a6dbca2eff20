"""The command line.

app.py       its verbs, its exit codes, what becomes of an error      verbs.py     what a verb is
options.py   options that verbs share                                 terminal.py  where a verb writes
reports.py   what verbs of one kind print at their end                named_steps.py  steps and recipes by name
commands/    one file a verb
"""
