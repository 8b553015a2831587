"""Two examples for each command, which end its help; a test reads every one of them with the parser."""

EXAMPLES: dict[str, tuple[tuple[str, str], tuple[str, str]]] = {
    "train": (
        ("Self-play on a folder of pictures, or go on with it", "visplay train mine.yaml"),
        (
            "The same with other values; first only say what it will take",
            "visplay train mine.yaml seed=1 reasoner.steps=40 --dry-run",
        ),
    ),
    "report": (
        (
            "Watch a run while it goes on; without --watch, write its page",
            "visplay report runs/mine --watch --port 8080",
        ),
        ("Compare several runs on one page", "visplay report runs/seed-0 runs/seed-1 --out seeds.html"),
    ),
    "runs": (
        ("The runs in runs/", "visplay runs"),
        ("Those of another folder", "visplay runs /data/runs"),
    ),
    "ask": (
        ("Eight questions about a photograph", "visplay ask photo.jpg --run runs/mine"),
        (
            "What the base asked, before any training",
            "visplay ask photo.jpg --run runs/mine --iteration 0 --questions 20",
        ),
    ),
    "export": (
        (
            "The Reasoner's adapter, for PEFT and vLLM; also on the hub, private",
            "visplay export runs/mine out/reasoner --push me/mine-reasoner",
        ),
        (
            "What it was trained on, as a dataset with the pictures",
            "visplay export runs/mine out/silver --silver",
        ),
    ),
    "evaluate": (
        (
            "The last iteration of a run on two benchmarks, with blind controls",
            "visplay evaluate runs/mine -b mmstar,mathvista --controls blind",
        ),
        (
            "A base VLM, with a vote of 8 samples",
            "visplay evaluate Qwen/Qwen2.5-VL-3B-Instruct -b mmmu --samples 8",
        ),
    ),
    "compare": (
        ("A run against its base", "visplay compare runs/mine@0 runs/mine@3"),
        (
            "Two evaluations, with a page of their own",
            "visplay compare evaluations/a evaluations/b --page a-b.html",
        ),
    ),
    "benchmarks": (
        ("What there is", "visplay benchmarks"),
        ("Find one", "visplay benchmarks | grep -i math"),
    ),
    "rescore": (
        ("Stored samples by today's rules", "visplay rescore runs/evaluations/mine"),
        (
            "A judge for what rules leave open",
            "visplay rescore evaluations/mine --judge http://127.0.0.1:8001/v1 --judge-model m",
        ),
    ),
    "doctor": (
        ("This machine and what is installed", "visplay doctor"),
        ("And whether a configuration can run here", "visplay doctor mine.yaml"),
    ),
    "plan": (
        ("What a run will take, on every known card", "visplay plan mine.yaml"),
        ("On one, with other values", "visplay plan mine.yaml reasoner.max_tokens=1024 --card rtx4090"),
    ),
    "config init": (
        (
            "For a model and a folder of pictures, by what fits this machine",
            "visplay config init Qwen/Qwen2.5-VL-3B-Instruct photos --out my.yaml",
        ),
        (
            "For a card that is elsewhere",
            "visplay config init Qwen/Qwen2.5-VL-7B-Instruct photos --card h100",
        ),
    ),
    "config keys": (
        ("Every key", "visplay config keys"),
        ("One section", "visplay config keys | grep '`curation'"),
    ),
    "pocket images": (
        ("1,500 dusky scenes", "visplay pocket images runs/demo-images"),
        ("1,500 crowded ones, for the ladder", "visplay pocket images runs/ladder-images --style ladder"),
    ),
}


def help_ending(command: str) -> str:
    """What the help of a command ends with; backspaces keep its lines as they are."""
    lines = [f"{words}:\n    {line}" for words, line in EXAMPLES[command]]
    return "\b\nExamples:\n" + "\n".join(lines)
