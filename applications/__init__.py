"""APPLICATIONS: the verbs of main.py."""

from utils.registry import Row, Table

APPLICATIONS = Table(
    "application",
    {
        "train": Row("applications.training.train:run", "train a model, or go on with a run (the default)"),
        "evaluation": Row("applications.evaluation.evaluate:run", "measure a trained model on held-out images"),
        "compare": Row("applications.comparison.compare:run", "say whether trained models differ on the same images"),
        "table": Row("applications.comparison.runs_table:run", "list the runs of a folder with accuracy, size and time"),
        "visual_data": Row("applications.dataset.sheets:run", "draw images as training sees them"),
        "explain": Row(
            "applications.explain.explain:run", "--visual_data and --visual_method with --resume: draw what the model looked at"
        ),
        "predict": Row("applications.prediction.predict:run", "answer for images, videos and cameras"),
        "serve": Row("applications.serving.serve:run", "answer on a page and through a JSON API"),
        "export": Row("applications.export.export:run", "write files for other runtimes, and keep those that give the same answers"),
        "benchmark": Row("applications.export.benchmark:run", "measure checkpoints and exported files side by side"),
        "jit": Row("applications.export.export:run", "short for --export torchscript"),
        "convert_yolov5": Row("applications.export.yolov5:run", "rename a backbone's weights to the names of YOLOv5, or back"),
        "info": Row("applications.listing.info:run", "print layers, parameters, multiply-adds, memory and time of a model"),
        "write_matrix": Row(
            "applications.dataset.write_matrix:run", "write a template of costs, thresholds or class weights for the data's classes"
        ),
        "prune": Row("applications.export.prune:run", "remove the channels that the model misses least"),
        "knowledge": Row("applications.sidecars.knowledge:run", "write the probabilities of a teacher for every image, to distill from"),
        "make_curriculum": Row("applications.sidecars.make_curriculum:run", "weigh every image by how sure a model is of its label"),
        "probe": Row("applications.training.probe:run", "fit a linear classifier on a frozen network"),
        "find_lr": Row("applications.training.find_lr:run", "try rising learning rates on a throw-away model and suggest one"),
        "sweep": Row("applications.sweep.sweep:run", "search for the best settings by successive halving"),
        "print_schedule": Row("applications.training.print_schedule:run", "draw the learning rate over a run"),
        "prepare": Row("applications.dataset.prepare:run", "write images resized, split and measured to a new folder"),
        "shard": Row("applications.dataset.shard:run", "write images as tar archives of the WebDataset kind"),
        "convert_labels": Row("applications.dataset.convert_labels:run", "write boxes in the format of another program"),
        "check": Row("applications.dataset.check:run", "look for what is wrong with the data, and write a page of it"),
        "undo": Row("applications.dataset.check:undo", "bring back the files that --check --fix moved away"),
        "list": Row("applications.listing.tables:run", "print a table of names"),
    },
)
