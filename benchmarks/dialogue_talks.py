"""Ten turns of talk with the bundled model for each of the seven feelings, to be read.

    python benchmarks/dialogue_talks.py

The person's lines stand below; they were written before any answer was seen and are the same
whatever is answered, so they tell a story rather than answer questions. Each is said with the
feeling beside it, as face and voice might show it. The settings are the shipped ones and the seed
is one, 0: no talk and no answer was drawn again or left out. Writes benchmarks/dialogue_talks.md.
"""

import hashlib
from pathlib import Path

from dialogue.affect import FEELINGS, Feeling, UserAffect
from dialogue.conversation import Conversation
from dialogue.models.bundled import WEIGHTS, BundledModel
from dialogue.prefix_training import affect_of

SEED = 0

TALKS: dict[Feeling, tuple[tuple[str, float], ...]] = {
    "angry": (
        ("My neighbour parked in front of my garage again this morning.", 0.6),
        ("It is the third time this week. I was late for work because of him.", 0.8),
        ("I rang his bell, but he did not even open the door.", 0.8),
        ("Then he shouted from the window that I should take the bus.", 0.9),
        ("I never had trouble with anybody in this street before.", 0.7),
        ("I could call the police, but I don't want a war next door.", 0.6),
        ("My wife says I should write him a letter.", 0.5),
        ("Maybe I will invite him for a coffee and talk it over.", 0.4),
        ("I just want to get out of my own garage in the morning.", 0.6),
        ("Well, thanks for letting me get that off my chest.", 0.3),
    ),
    "disgusted": (
        ("I found a dead mouse in my kitchen today.", 0.8),
        ("It was behind the fridge, and it must have been there for weeks.", 0.9),
        ("The smell was unbelievable.", 0.9),
        ("I had to put on two pairs of gloves to pick it up.", 0.8),
        ("Now I don't want to eat anything from that kitchen.", 0.7),
        ("I have scrubbed the floor three times already.", 0.6),
        ("My landlord says it is not his problem.", 0.6),
        ("A friend lent me two traps, but I hate the idea of checking them.", 0.6),
        ("I am ordering pizza tonight, that is for sure.", 0.4),
        ("Tomorrow somebody will come and close the hole in the wall.", 0.3),
    ),
    "afraid": (
        ("I have to go to the hospital tomorrow for an operation.", 0.7),
        ("It is only my knee, but I have never been put to sleep before.", 0.8),
        ("What if I don't wake up again?", 0.9),
        ("The doctor was kind, but she talked so fast.", 0.6),
        ("I could not sleep at all last night.", 0.7),
        ("My brother will drive me there at seven.", 0.5),
        ("He says everything will be fine, but he always says that.", 0.6),
        ("I keep thinking about all the things that can go wrong.", 0.8),
        ("Maybe I will listen to some music in the waiting room.", 0.4),
        ("It helps a little to say it out loud.", 0.3),
    ),
    "happy": (
        ("I just got the call: they gave me the job!", 0.9),
        ("I will be a teacher at the school where I went as a child.", 0.9),
        ("I have wanted this since I was ten years old.", 0.8),
        ("My mother cried when I told her on the phone.", 0.8),
        ("I start in August with the first class.", 0.7),
        ("I already bought a big box of coloured pencils.", 0.8),
        ("I hope the children will like me.", 0.5),
        ("On Saturday we will celebrate with the whole family.", 0.8),
        ("My father is going to bake his famous apple cake.", 0.8),
        ("I think this is the best week of my life.", 0.9),
    ),
    "neutral": (
        ("I went to the market this morning.", 0.7),
        ("I bought potatoes, carrots and some bread.", 0.8),
        ("I want to make a soup for tonight.", 0.7),
        ("My sister gave me the recipe.", 0.7),
        ("It takes about an hour, I think.", 0.8),
        ("In the afternoon I have to go to the library.", 0.8),
        ("I borrowed a book about old ships there.", 0.7),
        ("It is rather long, and I am only halfway through.", 0.7),
        ("After dinner I usually go for a walk by the river.", 0.7),
        ("That was my day so far.", 0.8),
    ),
    "sad": (
        ("My dog died on Sunday.", 0.8),
        ("He was fourteen, and I had him since he was a puppy.", 0.9),
        ("The house is so quiet now.", 0.9),
        ("This morning I filled his bowl before I remembered.", 0.9),
        ("My friends say that I should get a new one.", 0.6),
        ("But I don't want another dog. I want him.", 0.8),
        ("We used to walk in the woods every evening.", 0.7),
        ("Yesterday I went there alone for the first time.", 0.7),
        ("I found his old ball under a tree.", 0.8),
        ("I put it on the shelf, next to his picture.", 0.6),
    ),
    "surprised": (
        ("You won't believe what happened to me today.", 0.8),
        ("I opened an old coat and found a letter from my grandfather in it.", 0.9),
        ("He died ten years ago, and I had never seen it before.", 0.8),
        ("It was in his handwriting, with my name on it.", 0.9),
        ("He wrote that he had hidden something for me in the garden.", 0.9),
        ("So I went there with a spade after lunch.", 0.7),
        ("Under the apple tree there was a small tin box.", 0.9),
        ("Inside were his watch and a photo of the two of us.", 0.8),
        ("I have no idea how it could stay there for so long.", 0.7),
        ("I am wearing the watch now, and it still works!", 0.8),
    ),
}


def shown(feeling: Feeling, sure: float) -> UserAffect:
    """Make the affect that face and voice might show."""
    rest = (1 - sure) / (len(FEELINGS) - 1)
    return affect_of({f: sure if f == feeling else rest for f in FEELINGS})


def hold(model: BundledModel, feeling: Feeling) -> Conversation:
    """Hold one talk."""
    talk = Conversation()
    for line, sure in TALKS[feeling]:
        talk.said("user", line, shown(feeling, sure))
        talk.said("assistant", model.reply(talk.messages))
    return talk


def written(feeling: Feeling, talk: Conversation) -> str:
    """Write one talk for a reader."""
    sure = iter(confidence for _, confidence in TALKS[feeling])
    lines = [
        f"**Person** ({feeling}, {next(sure)}): {message.content}  "
        if message.role == "user"
        else f"**Model**: {message.content}\n"
        for message in talk.messages
    ]
    return "\n".join([f"## {feeling.capitalize()}\n", *lines])


def main() -> None:
    """Hold and write all talks."""
    model = BundledModel.load(device="cpu", seed=SEED)
    talks = [written(feeling, hold(model, feeling)) for feeling in FEELINGS]
    digest = hashlib.sha256((WEIGHTS / "model.safetensors").read_bytes()).hexdigest()
    head = f"""# Ten turns with the bundled model for each feeling

Made by `python benchmarks/dialogue_talks.py` with the weights of sha256 `{digest[:16]}…`, the
shipped settings and seed {SEED}. The person's lines were written before any answer was seen and are
the same whatever is answered; beside each stands the feeling that face and voice were taken to
show, and how surely. No answer was drawn again, chosen or
left out; but the rules by which the model chooses were mended after reading earlier runs of these
very talks, which flatters it.
"""
    path = Path(__file__).with_suffix(".md")
    path.write_text("\n".join([head, *talks]))
    print(path.read_text())


if __name__ == "__main__":
    main()
