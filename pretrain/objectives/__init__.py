"""Objectives: what an encoder learns from. A new one is one new file and one line here."""

from goalsight.base.registry import Registry

OBJECTIVES = Registry(
    "objective",
    {
        "masked": "goalsight.pretrain.objectives.masked:MaskedPrediction",
        "latent": "goalsight.pretrain.objectives.latent:LatentPrediction",
        "points": "goalsight.pretrain.objectives.points:PointPrediction",
        "autoregressive": "goalsight.pretrain.objectives.autoregressive:AutoregressivePrediction",
        "replaced": "goalsight.pretrain.objectives.replaced:ReplacedDetection",
        "joint": "goalsight.pretrain.objectives.joint:JointPrediction",
        "contrastive": "goalsight.pretrain.objectives.contrastive:Contrast",
        "paired": "goalsight.pretrain.objectives.paired:PairedComparison",
        "fused": "goalsight.pretrain.objectives.fused:FusedPrediction",
        "universal": "goalsight.pretrain.objectives.universal:UniversalPrediction",
        "temporal": "goalsight.pretrain.objectives.temporal:TemporalDistance",
    },
)
