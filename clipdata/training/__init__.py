"""Fine-tuning: from a table and an encoder to a run that holds a tuned one.

    config.py        TrainConfig, everything that decides the result      settings.py   fields from text and JSON
    recipes.py       functions that return one
    rows.py          the rows that can be trained on
    forward.py       from a batch to features
    objectives.py    from features to a loss                              optimisers.py what moves, and how fast
    learner.py       a model in training: steps, state                    evaluation.py measuring held-out rows
    checkpoints.py   folders that exist whole or not at all               metrics.py    metrics.jsonl
    run.py           the folder of a run                                  resumption.py begin, go on, or nothing
    loop.py          train()

Names are loaded on first use, because torch takes seconds to import.
"""
