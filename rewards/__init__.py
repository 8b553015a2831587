"""Rewards as pure functions: text -> question, answer, vote, reward. No torch, files, network or clock."""

from rewards.answers.equivalence import Verdict, equivalent
from rewards.diversity import bleu_distances, cluster_labels, cluster_shares, merged_cluster_shares
from rewards.parsing import AnswerForm, ParseFailure, Question, extract_answer, parse_question
from rewards.questioner import questioner_rewards
from rewards.reasoner import reasoner_rewards
from rewards.reward import Reward, Term, Values, random_rewards
from rewards.voting import Vote, in_informative_band, vote

__all__ = [
    "AnswerForm",
    "ParseFailure",
    "Question",
    "Reward",
    "Term",
    "Values",
    "Verdict",
    "Vote",
    "bleu_distances",
    "cluster_labels",
    "cluster_shares",
    "equivalent",
    "extract_answer",
    "in_informative_band",
    "merged_cluster_shares",
    "parse_question",
    "questioner_rewards",
    "random_rewards",
    "reasoner_rewards",
    "vote",
]
