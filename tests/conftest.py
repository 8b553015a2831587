"""Tests reach no network: the Hugging Face libraries are told so before anything imports them."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"
