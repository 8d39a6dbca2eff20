"""The command line.

app.py           the verbs there are, exit codes, what becomes of an error
verbs.py         what a verb is                               commands/       one file a verb
options.py       options that verbs share                     terminal.py     where a verb writes
json_output.py   one JSON object a run, words of schemas      schemas.py      --json-schema
text_table.py    rows as text within a width                  reports.py      what verbs of one kind print at their end
next_command.py  the hint at the end                          field_help.py   help made from what it describes
named_steps.py   steps and recipes by name
"""
