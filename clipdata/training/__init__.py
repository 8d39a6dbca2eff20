"""Fine-tuning: from a table and an encoder to a run that holds a tuned one.

    config.py        TrainConfig, everything that decides the result      settings.py    fields from text and JSON
    recipes.py       functions that return one                            recipe_names.py   one by its name
    recipe_choice.py which one fits some facts                            recipe_facts.py   gathers these
    few_rows.py      what few rows do to a ResNet
    usable_rows.py   the rows that can be trained on                      rows_digest.py whether they are still the same
    rows_read.py     what a run reads, known again                        portion.py     all of the rows, or some
    length.py        steps, batches, epochs                               plan.py        what a dry run says
    overlap.py       rows to measure that were trained on                 likeness.py    and that look or say alike
    left_out.py      rows whose picture is unusable
    forward.py       from a batch to features
    objectives.py    from features to a loss                              optimisers.py  what moves, how fast, how far
    gradients.py     of a batch at once                          cached_gradients.py  of one some rows at a time
    memory_growth.py what rows take and how it grows             memory.py       what a training needs
    memory_outlook.py whether it suffices, what to change         memory_watch.py too little of it, told in time
    feasibility.py   whether an encoder can be trained so                 compiling.py   faster code, on request
    learner.py       a model in training: steps, state                    averaging.py   a moving average of it
    evaluation.py    a model's figures                                    held_out.py    measured while it trains
    run_streams.py   the streams of a run                                 forewords.py   told before the first step
    randomness.py    what is drawn, and drawn again
    checkpoints.py   folders that exist whole or not at all               metrics.py     metrics.jsonl
    lines.py         what is told as it goes                              trackers/      TensorBoard, W&B, trackio
    state_files.py   files that exist whole or not at all                 tally.py       sums between two reports
    run.py           the folder of a run                                  resumption.py  begin, go on, or nothing
    copies.py        checkpoints in a bucket                   uploads.py    copied while training goes on
    curves.py        curves.svg                                model_card.py what a tuned model was made of
    listing.py       runs()                                    health.py     what goes wrong, of what vitals.py sees
    restoring.py     a run's folder, brought back from a copy  interruption.py  Ctrl-C and SIGTERM
    canary.py        what a training cost elsewhere              canary_features.py  its features, kept
    mixing.py        weights between before and after            interpolation.py   of a finished run
    validation.py    rows split off to choose by
    canary_set/      photographs and names that it shows         finishing.py    from the last step to the summary
    loop.py          a run step by step                        fine_tuning.py  train()

Names are loaded on first use, because torch takes seconds to import.
"""
