"""The page of a run: everything that a run directory holds, as one HTML file for people (`rlcode report`).

`eval/report.py` is something else: the files that `rlcode eval` writes.

    layout.py       what lies in the directory: sets of samples, trainings, problems
    samples_of.py   the samples of a set, whichever of our files has them
    counts.py       what became of all of them, in numbers
    kept.py         the samples that the page can show one by one: all, or a fair part of them
    pairs.py        the pairs that DPO drew
    logs.py         what the trainers logged, and alarms
    markup.py       HTML with everything escaped; charts.py, plots.py: pictures as SVG
    section_*.py    the parts of the page
    browser.py      the samples and pairs as packed columns, for the page's script
    build.py        all of it together
    page/           HTML, CSS and JavaScript of the page

Whatever a model wrote is hostile. It gets into the page in two ways alone: through `markup`, which escapes, and packed
in base64, from where the script puts it in as text.
"""
