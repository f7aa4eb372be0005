"""Tokenisers: what a frame is cut into. A new one is one new file and one line here."""

from goalsight.base.registry import Registry

TOKENISERS = Registry(
    "tokeniser",
    {
        "conv": "goalsight.pretrain.tokenisers.conv:ConvTokeniser",
        "patches": "goalsight.pretrain.tokenisers.patches:PatchTokeniser",
        "local": "goalsight.pretrain.tokenisers.local:LocalTokeniser",
        "values": "goalsight.pretrain.tokenisers.values:ValueTokeniser",
        "codes": "goalsight.pretrain.tokenisers.codes:CodeTokeniser",
    },
)
