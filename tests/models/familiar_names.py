"""Names of networks as other programs spell them: what is asked for by such a name is built."""

# The residual networks of timm, as they were called in 2021.
RESNETS = (
    *("resnet18", "resnet18d", "resnet34", "resnet34d", "resnet26", "resnet26d", "resnet26t", "resnet50", "resnet50d"),
    *("resnet50t", "resnet101", "resnet101d", "resnet152", "resnet152d", "resnet200", "resnet200d", "tv_resnet34"),
    *("tv_resnet50", "tv_resnet101", "tv_resnet152", "wide_resnet50_2", "wide_resnet101_2", "resnext50_32x4d"),
    *("resnext50d_32x4d", "resnext101_32x4d", "resnext101_32x8d", "resnext101_64x4d", "tv_resnext50_32x4d"),
    *("ig_resnext101_32x8d", "ig_resnext101_32x16d", "ig_resnext101_32x32d", "ig_resnext101_32x48d", "ssl_resnet18"),
    *("ssl_resnet50", "ssl_resnext50_32x4d", "ssl_resnext101_32x4d", "ssl_resnext101_32x8d", "ssl_resnext101_32x16d"),
    *("swsl_resnet18", "swsl_resnet50", "swsl_resnext50_32x4d", "swsl_resnext101_32x4d", "swsl_resnext101_32x8d"),
    *("swsl_resnext101_32x16d", "seresnet18", "seresnet34", "seresnet50", "seresnet50t", "seresnet101", "seresnet152"),
    *("seresnet152d", "seresnet200d", "seresnet269d", "seresnext26d_32x4d", "seresnext26t_32x4d", "seresnext50_32x4d"),
    *("seresnext101_32x4d", "seresnext101_32x8d", "senet154", "ecaresnet26t", "ecaresnetlight", "ecaresnet50d"),
    *("ecaresnet50d_pruned", "ecaresnet50t", "ecaresnet101d", "ecaresnet101d_pruned", "ecaresnet200d", "ecaresnet269d"),
    *("ecaresnext26t_32x4d", "ecaresnext50t_32x4d", "resnetblur18", "resnetblur50", "resnetrs50", "resnetrs101", "resnetrs152"),
    *("resnetrs200", "resnetrs270", "resnetrs350", "resnetrs420"),
)

# What a classification library takes of torchvision, and its own.
CLASSIFIERS = (
    *("alexnet", "vgg11", "vgg13", "vgg16", "vgg19", "vgg11_bn", "vgg13_bn", "vgg16_bn", "vgg19_bn"),
    *("resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "resnext50_32x4d", "resnext101_32x8d"),
    *("wide_resnet50_2", "wide_resnet101_2", "squeezenet1_0", "squeezenet1_1", "googlenet", "inception_v3"),
    *("densenet121", "densenet161", "densenet169", "densenet201", "mobilenet_v2"),
    *("shufflenet_v2_x0_5", "shufflenet_v2_x1_0", "shufflenet_v2_x1_5", "shufflenet_v2_x2_0"),
    *("mnasnet0_5", "mnasnet0_75", "mnasnet1_0", "mnasnet1_3", "mobilenetv3_small", "mobilenetv3_large"),
    *(f"efficientnet_b{index}" for index in range(9)),
    *("resnest50", "resnest101", "resnest200", "resnest269", "resnest50_fast_1s1x64d", "resnest50_fast_2s1x64d"),
    *("resnest50_fast_4s1x64d", "resnest50_fast_1s2x40d", "resnest50_fast_2s2x40d", "resnest50_fast_4s2x40d", "resnest50_fast_1s4x24d"),
)

# What was compared on Caltech-256.
COMPARED = ("alexnet", "zfnet", "vgg13", "googlenet", "squeezenet1_0", "resnet_20", "resnet_26", "resnet_29", "resnet_38", "resnet_50")

# Backbones of detectors: those trained for that purpose, and those of torchvision.
DARKNETS = ("darknet19", "darknet53", "cspdarknet53", *(f"darknet_yolov5{size}" for size in "nsmlx"))
VOVNETS = ("vovnet27_slim", "vovnet39", "vovnet57", *(f"vovnet{name}_ese" for name in ("19_slim", "19", "39", "57", "99")))
EXTRACTORS = (
    *("resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "resnext50_32x4d", "resnext101_32x8d"),
    *("wide_resnet50_2", "wide_resnet101_2", "mobilenet_v2", "mobilenet_v3_large", "mobilenet_v3_small"),
    *(f"regnet_{kind}_{size}" for kind in "xy" for size in ("400mf", "800mf", "1_6gf", "3_2gf", "8gf", "16gf", "32gf")),
    *(f"efficientnet_b{index}" for index in range(8)),
)

# Backbones of an industrial tool chain.
INDUSTRIAL = ("efficientnet_b0", "efficientnet_b1", "resnet18", "resnet34", "resnet50", "resnet101", "wide_resnet50_2")

# Transformers and their relatives, by the names of the library whose weights they take.
TRANSFORMERS = (
    *("vit_tiny_patch16_224", "vit_small_patch16_224", "vit_small_patch32_224", "vit_medium_patch16_gap_256", "vit_base_patch16_224"),
    *("vit_base_patch32_224", "vit_base_patch8_224", "vit_large_patch16_224", "vit_huge_patch14_224"),
    *("vit_base_patch16_siglip_224", "vit_large_patch16_siglip_256", "vit_so400m_patch14_siglip_224"),
    *("deit_tiny_distilled_patch16_224", "deit_small_distilled_patch16_224", "deit_base_distilled_patch16_224"),
    *("deit3_small_patch16_224", "deit3_medium_patch16_224", "deit3_base_patch16_224", "deit3_large_patch16_224", "deit3_huge_patch14_224"),
    *("cait_xxs24_224", "cait_xxs36_224", "cait_xs24_384", "cait_s24_224", "cait_s36_384", "cait_m36_384", "cait_m48_448"),
    *("mixer_s32_224", "mixer_s16_224", "mixer_b32_224", "mixer_b16_224", "mixer_l32_224", "mixer_l16_224", "mixer_h14_224"),
    *("swin_tiny_patch4_window7_224", "swin_small_patch4_window7_224", "swin_base_patch4_window7_224", "swin_large_patch4_window7_224"),
    *("swin_s3_tiny_224", "swin_s3_small_224", "swin_s3_base_224"),
    *(
        f"convnext{version}_{size}"
        for version in ("", "v2")
        for size in ("atto", "femto", "pico", "nano", "tiny", "small", "base", "large")
    ),
    *("convnext_xlarge", "convnextv2_huge"),
)

NAMES = (*RESNETS, *CLASSIFIERS, *COMPARED, *DARKNETS, *VOVNETS, *EXTRACTORS, *TRANSFORMERS, *INDUSTRIAL)
