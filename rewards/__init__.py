"""Rewards as pure functions: text -> question, answer, vote, reward. No torch, no files, no network."""

from rewards.bleu import bleu_distances
from rewards.diversity import cluster_shares
from rewards.equivalence import Verdict, equivalent
from rewards.parsing import ParseFailure, Question, extract_answer, parse_question
from rewards.presets import Preset, preset
from rewards.questioner import questioner_rewards
from rewards.reasoner import reasoner_rewards
from rewards.reward import Reward
from rewards.uncertainty import in_informative_band, uncertainty
from rewards.voting import Vote, vote

__all__ = [
    "ParseFailure",
    "Preset",
    "Question",
    "Reward",
    "Verdict",
    "Vote",
    "bleu_distances",
    "cluster_shares",
    "equivalent",
    "extract_answer",
    "in_informative_band",
    "parse_question",
    "preset",
    "questioner_rewards",
    "reasoner_rewards",
    "uncertainty",
    "vote",
]
