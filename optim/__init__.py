"""The optimizers: how the weights change. The rows are resolved on use."""

from utils.registry import Row, Table

OPTIMIZERS = Table(
    "optimizer",
    {
        "sgd": Row("optim.optimizers:build_sgd", "gradient descent with Nesterov momentum"),
        "momentum": Row("optim.optimizers:build_momentum", "gradient descent with plain momentum (Polyak, 1964)"),
        "adam": Row("optim.optimizers:build_adam", "Adam, weight decay inside the gradient (arXiv 1412.6980)"),
        "adamw": Row("optim.optimizers:build_adamw", "Adam, weight decay apart from the gradient (arXiv 1711.05101)"),
        "radam": Row("optim.optimizers:build_radam", "rectified Adam, weight decay apart from the gradient (arXiv 1908.03265)"),
        "nadam": Row("optim.optimizers:build_nadam", "Adam with Nesterov momentum, weight decay apart (Dozat, 2016)"),
        "adamax": Row("optim.optimizers:build_adamax", "Adam scaled by the largest gradient instead of the mean square (arXiv 1412.6980)"),
        "adagrad": Row("optim.optimizers:build_adagrad", "steps shrink with the sum of squared gradients; wants a large --lr"),
        "adadelta": Row("optim.optimizers:build_adadelta", "steps in units of earlier steps (arXiv 1212.5701); --lr 1 is the paper's"),
        "adafactor": Row("optim.optimizers:build_adafactor", "Adam without momentum, second moments by row and column (arXiv 1804.04235)"),
        "rmsprop": Row("optim.optimizers:build_rmsprop", "gradient over its running root mean square, with momentum (Hinton, 2012)"),
        "muon": Row("optim.timm_optimizers:build_muon", "orthogonalized momentum for weights, AdamW for the rest (Jordan et al., 2024)"),
        "lamb": Row("optim.timm_optimizers:build_lamb", "Adam with a step size a layer, for large batches (arXiv 1904.00962)"),
        "lambc": Row("optim.timm_optimizers:build_lambc", "LAMB whose step sizes are never raised"),
        "lars": Row("optim.timm_optimizers:build_lars", "momentum with a step size a layer; wants a large --lr (arXiv 1708.03888)"),
        "nlars": Row("optim.timm_optimizers:build_nlars", "LARS with Nesterov momentum"),
        "larc": Row("optim.timm_optimizers:build_larc", "LARS whose rate of a layer is never above --lr"),
        "nlarc": Row("optim.timm_optimizers:build_nlarc", "LARC with Nesterov momentum"),
        "lion": Row("optim.timm_optimizers:build_lion", "the sign of a momentum; wants a third of AdamW's --lr or less (arXiv 2302.06675)"),
        "novograd": Row("optim.timm_optimizers:build_novograd", "gradients normalized layer by layer (arXiv 1905.11286)"),
        "madgrad": Row("optim.timm_optimizers:build_madgrad", "dual averaging with a cube root; little weight decay (arXiv 2101.11075)"),
        "madgradw": Row("optim.timm_optimizers:build_madgradw", "MADGRAD, weight decay apart from the gradient"),
        "adabelief": Row("optim.timm_optimizers:build_adabelief", "Adam scaled by the surprise of the gradient (arXiv 2010.07468)"),
        "radabelief": Row("optim.timm_optimizers:build_radabelief", "AdaBelief, rectified as RAdam is"),
        "adopt": Row("optim.timm_optimizers:build_adopt", "Adam that converges with any second beta (arXiv 2411.02853)"),
        "adan": Row("optim.timm_optimizers:build_adan", "adaptive Nesterov momentum of gradient differences (arXiv 2208.06677)"),
        "laprop": Row("optim.timm_optimizers:build_laprop", "Adam that normalizes before it averages (arXiv 2002.04839)"),
        "adamp": Row("optim.timm_optimizers:build_adamp", "Adam that does not lengthen weights before a norm (arXiv 2006.08217)"),
        "sgdp": Row("optim.timm_optimizers:build_sgdp", "momentum that does not lengthen weights before a norm (arXiv 2006.08217)"),
        "rmsproptf": Row("optim.timm_optimizers:build_rmsproptf", "RMSprop as TensorFlow has it, as EfficientNet was trained"),
        "adahessian": Row(
            "optim.adahessian:build_adahessian", "Adam scaled by the curvature; four times the price, a large --lr (arXiv 2006.00719)"
        ),
        "ralamb": Row("optim.ralamb:build_ralamb", "rectified Adam with the layer-wise step sizes of LAMB"),
        "ranger": Row("optim.lookahead:build_ranger", "rectified Adam with Lookahead"),
        "rangerlars": Row("optim.lookahead:build_rangerlars", "ralamb with Lookahead"),
        "lookahead": Row("optim.lookahead:build_lookahead", "any of these with Lookahead: lookahead(sgd), bare adamw (arXiv 1907.08610)"),
    },
)

SCHEDULES = Table(
    "schedule",
    {
        "cosine": Row(
            "optim.schedules:build_cosine", "half a cosine down to zero; cycles=3 restarts, k=2 k-decay, t_max=5 a wave (arXiv 1608.03983)"
        ),
        "steps": Row("optim.schedules:build_steps", "one factor for every stage of the run: --lr_ratios, --lr_steps"),
        "linear": Row("optim.schedules:build_linear", "a straight line down"),
        "poly": Row("optim.schedules:build_poly", "(1 - share of the run) ^ power=0.9 (arXiv 1606.00915)"),
        "tanh": Row("optim.schedules:build_tanh", "high for long, then a fast fall (arXiv 1806.01593)"),
        "onecycle": Row("optim.schedules:build_onecycle", "a long climb to peak=0.3 of the run, then down to nothing (arXiv 1708.07120)"),
        "step": Row("optim.schedules:build_step", "times gamma=0.1 after every=N epochs"),
        "multistep": Row("optim.schedules:build_multistep", "times gamma=0.1 at given epochs: multistep(30,60)"),
        "plateau": Row("optim.schedules:build_plateau", "times factor=0.1 when validation stops improving: metric=loss, patience=3"),
        "constant": Row("optim.schedules:build_constant", "one rate after the warm-up"),
    },
)

PENALTIES = Table(
    "penalty",
    {
        "sparsity": Row("optim.penalties:build_sparsity", "pulls batch-norm gammas to zero, to prune by (arXiv 1708.06519)"),
    },
)
