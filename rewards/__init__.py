"""Rewards as pure functions: text -> question, answer, vote, reward. No torch, files, network or clock."""

from rewards.answers.equivalence import Verdict, equivalent
from rewards.diversity.bleu import bleu_distances, bleu_scores
from rewards.diversity.redundancy import (
    cluster_labels,
    cluster_shares,
    merged_cluster_shares,
    remember,
    remembered_similarity,
)
from rewards.grounding import blind_agreement, is_grounded, probed_groups
from rewards.parsing import AnswerForm, ParseFailure, Question, extract_answer, parse_question
from rewards.presets import Preset, preset
from rewards.questioner import questioner_rewards
from rewards.quotas import quota_excess
from rewards.reasoner import reasoner_rewards
from rewards.reward import Reward, Term, random_rewards
from rewards.skills import skill, skill_shares
from rewards.uncertainty import answer_entropy, entropy_difficulty, in_informative_band, uncertainty
from rewards.voting import Vote, vote

__all__ = [
    "AnswerForm",
    "ParseFailure",
    "Preset",
    "Question",
    "Reward",
    "Term",
    "Verdict",
    "Vote",
    "answer_entropy",
    "bleu_distances",
    "bleu_scores",
    "blind_agreement",
    "cluster_labels",
    "cluster_shares",
    "entropy_difficulty",
    "equivalent",
    "extract_answer",
    "in_informative_band",
    "is_grounded",
    "merged_cluster_shares",
    "parse_question",
    "preset",
    "probed_groups",
    "questioner_rewards",
    "quota_excess",
    "random_rewards",
    "reasoner_rewards",
    "remember",
    "remembered_similarity",
    "skill",
    "skill_shares",
    "uncertainty",
    "vote",
]
