"""Whether somebody's words speak of danger: a table of rules over plainly spelt English.

It is a net with holes: it reads English words only, and silence proves nothing. A rule is a pattern
for one kind of danger. What it finds does not count where it is denied ("I would never …"), is a
figure of speech ("… of embarrassment"), or is told of a film or a book.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal, get_args

__all__ = ["DANGERS", "Danger", "find_danger", "spell_out"]

Danger = Literal["self_harm", "other_at_risk", "harm_to_others", "abuse"]
"""The person themself; somebody they speak of; somebody they, or that one, may harm; abuse of them
or of somebody they know."""
DANGERS: Final[tuple[Danger, ...]] = get_args(Danger)

# ------------------------------------------------------------------------------------- spelling

_SHORT_FORMS: Final = {
    "im": "i am", "ive": "i have", "dont": "do not", "dnt": "do not",
    "cant": "can not", "cannot": "can not", "wont": "will not", "didnt": "did not",
    "doesnt": "does not", "wouldnt": "would not", "couldnt": "could not",
    "shouldnt": "should not", "isnt": "is not", "arent": "are not", "wasnt": "was not",
    "havent": "have not", "hasnt": "has not", "won't": "will not", "can't": "can not",
    "hes": "he is", "shes": "she is", "theyre": "they are", "gonna": "going to",
    "gon": "going to", "goin": "going", "wanna": "want to", "gotta": "have to",
    "iwant": "i want", "hav": "have", "lief": "life", "teh": "the", "u": "you",
    "ur": "your", "anymore": "any more", "freind": "friend", "bf": "boyfriend",
    "gf": "girlfriend", "mum": "mom", "tuches": "touches", "nite": "night",
    "meself": "myself", "2": "to", "too": "to", "kms": "kill myself", "liv": "live",
    "alife": "alive", "bout": "about", "wuld": "would", "jst": "just", "wnat": "want",
    "nobdy": "nobody", "noone": "no one", "sombody": "somebody", "someboby": "somebody",
    "ppl": "people", "evry": "every", "wat": "what", "da": "the", "abt": "about",
    "wif": "with", "b4": "before", "cuz": "because", "tmrw": "tomorrow", "2nite": "tonight",
    "tonite": "tonight", "slef": "self", "slapt": "slapped", "husban": "husband",
    "fucking": "really", "fuckin": "really", "freaking": "really", "sis": "sister",
    "bro": "brother", "unalive": "kill", "unaliving": "killing", "stepdad": "step dad",
    "stepfather": "step father", "stepmom": "step mom", "stepmother": "step mother",
    "rn": "right now",
}  # fmt: skip
_ENDINGS: Final = (
    ("n't", " not"), ("'m", " am"), ("'ve", " have"), ("'re", " are"), ("'ll", " will"),
    ("'d", " would"),
)  # fmt: skip
_IS: Final = frozenset({
    "he", "she", "it", "that", "what", "there", "life", "who", "everything", "this", "here",
    "how",
})  # fmt: skip

_KNOWN: Final = frozenset({
    "kill", "killing", "killed", "myself", "himself", "herself", "themselves", "suicide",
    "suicidal", "commit", "committing", "attempt", "hang", "hanging", "overdose", "hurting",
    "harming", "cutting", "molested", "molests", "raped", "rapes", "abused", "abusing",
    "abusive", "abuses", "assaulted", "sexually", "physically", "boyfriend", "girlfriend",
    "husband", "friend", "daughter", "brother", "sister", "mother", "father", "beating",
    "beats", "hits", "hitting", "cut", "stab", "stabbing", "murder", "murdering",
    "strangle", "strangled", "strangles", "choked", "chokes", "threatened", "threatens",
    "poison", "any", "more", "anymore", "living", "alive", "reason", "touches", "thoughts",
    "school", "swallowed", "gonna", "wanna", "smother", "violent", "violence", "pregnant",
    "slaps", "punches", "stalking",
})  # fmt: skip
_REAL_WORDS: Final = frozenset({
    "rapped", "rapping", "shot", "shots", "bother", "broth", "brothers", "sisters",
    "friends", "mothers", "fathers", "seasons", "season", "reasons", "treason", "thought",
    "olive", "giving", "loving", "liking", "lining", "driving", "diving", "firing",
    "hiring", "living", "poisons", "poisoned", "killer", "killers", "skilling", "filling",
    "milling", "telling", "choke", "cooked", "coked", "chocked", "choker", "chores",
    "heating", "seating", "eating", "beaten", "bearing", "cutting", "hunting", "putting",
    "hitting", "sitting", "fitting", "knitting", "splitting", "hurling", "hurtling", "harm",
    "charming", "farming", "warming", "other", "another", "smothered", "mothering",
    "rather", "gather", "farther", "lather", "husbands", "boyfriends", "girlfriends",
    "daughters", "laughter", "slaughter", "murdered", "murderer", "schools", "suicides",
    "stable", "stabs", "slips", "slams", "clasps", "launches", "bunches", "lunches",
    "touched", "touching", "torches", "coaches", "threats", "threaten", "commits",
    "comment", "commenting", "admitting", "omitting", "attempts", "attempted", "banging",
    "hanging", "ganging", "changing", "handing", "violet", "violets", "talking", "walking",
    "staking", "stacking", "balking", "abuser", "assault", "assaults", "himself", "herself",
    "kills", "pills", "hills", "bills", "mills", "wills", "fills",
})  # fmt: skip
_CLIPPED: Final = frozenset({
    "thinking", "killing", "hurting", "cutting", "beating", "hitting", "dying", "ending",
    "living", "trying", "planning", "feeling", "talking", "hanging", "having", "wanting",
    "going", "touching", "taking", "jumping",
})  # fmt: skip
_LEET: Final = str.maketrans("1!304@$5", "iieoaass")


def spell_out(text: str) -> str:
    """Write words as the rules know them: lower case, no short forms, usual slips put right.

    >>> spell_out("I’m gona KIL myslef")
    'i am going to kill myself'
    """
    plain = unicodedata.normalize("NFKC", text).replace("’", "'").lower()
    plain = "".join(letter for letter in plain if unicodedata.category(letter) != "Cf")
    plain = re.sub(r"([a-z])\1{2,}", r"\1", plain).replace("-", " ")
    plain = re.sub(r"[a-z0-9*@$'][a-z0-9*@$'!]*(?<!!)", lambda word: _spelt(word[0]), plain)
    return re.sub(r"[^\S\n]+", " ", plain).strip()


def _spelt(word: str) -> str:
    if word in _SHORT_FORMS:
        return _SHORT_FORMS[word]
    for ending, whole in _ENDINGS:
        if word.endswith(ending) and len(word) > len(ending):
            return word.removesuffix(ending) + whole
    if word.endswith("'s"):
        return f"{word[:-2]} is" if word[:-2] in _IS else word
    if word.endswith(("in", "in'")) and (whole := word.rstrip("'") + "g") in _CLIPPED:
        return whole
    right = _corrected(word)
    return _SHORT_FORMS.get(right, right)


def _corrected(word: str) -> str:
    """Put one slip right where it makes a word of the rules, and is no other English word."""
    if word in _KNOWN or word in _REAL_WORDS:
        return word
    if re.fullmatch(r"su+i?[cs]+[iy]?d(?:al|le|el|ul|ale|all)", word):
        return "suicidal"
    if re.fullmatch(r"su+i?[cs]+[iy]?de?", word):
        return "suicide"
    if not word.isalpha():
        if not any(sign in word for sign in "*1!304@$5") or word.isdigit():
            return word
        hidden = re.compile(re.escape(word.translate(_LEET)).replace(r"\*", "[a-z]"))
        return next((known for known in _KNOWN if hidden.fullmatch(known)), word)
    if (single := _undoubled(word)) in _BY_UNDOUBLED:
        return _BY_UNDOUBLED[single]
    return next((k for k in _LONG_BY_INITIAL.get(word[0], ()) if _is_one_slip(word, k)), word)


def _undoubled(word: str) -> str:
    return re.sub(r"(.)\1", r"\1", word)


_BY_UNDOUBLED: Final = {_undoubled(word): word for word in sorted(_KNOWN)}
_LONG_BY_INITIAL: Final = {
    initial: tuple(k for k in sorted(_KNOWN) if k[0] == initial and len(k) > 5)
    for initial in {word[0] for word in _KNOWN}
}


def _is_one_slip(word: str, known: str) -> bool:
    """Whether one letter is missing, added, another, or two are swapped (Damerau 1964)."""
    if word[0] != known[0] or abs(len(word) - len(known)) > 1:
        return False
    at = next((i for i, (a, b) in enumerate(zip(word, known, strict=False)) if a != b), len(word))
    if at >= len(word) - 1 and at >= len(known) - 1:
        return False  # another ending, as in "punched" for "punches"
    rest, right = word[at:], known[at:]
    swapped = rest[1::-1] == right[:2] and rest[2:] == right[2:]
    return swapped or rest[1:] in (right, right[1:]) or rest == right[1:]


# ---------------------------------------------------------------------------------------- rules

_FAMILY = (
    r"(?:step )?(?:mom|mother|dad|father|parents?|brother|sister|uncle|aunt|cousin|grand(?:pa|ma"
    r"|father|mother|son|daughter)|son|daughter|child|kids?|children|baby|nephew|niece)"
)
_PARTNER = r"(?:husband|wife|boyfriend|girlfriend|partner|fiancee?|spouse|ex(?: \w+)?|hubby)"
_OFTEN = (
    r"(?: (?:always|often|sometimes|still|just|also|then|has|had|have|is|was|who|that|when|drunk"
    r"|keeps"
    r"|kept|started|starts|never|not|stops?|will|would|did|does|do|only|really|actually|physically"
    r"|verbally|mentally|emotionally|constantly|once|even|used|to|regularly|brutally|and|badly"
    r"|again"
    r"|usually|repeatedly|\w+ me and))*"
)
_AROUND = (
    r"(?:best friend|friend|boss|coach|teacher|priest|pastor|neighbou?r|room ?mate|flat ?mate"
    r"|co ?workers?|colleagues?|classmates?|students?|boy|girl|caregiver|carer|doctor|landlord"
    r"|bully"
    r"|friends|patient|client|tutor|professor)"
)
_MINE = rf"(?:my|our|her|his|a|the|this|that) (?:\w+ )?(?:{_FAMILY}|{_PARTNER}|{_AROUND})"
_OURS = rf"{_MINE}(?:'s (?:{_PARTNER}|{_FAMILY}|{_AROUND}))?\b"
_SOMEONE = (
    r"(?:he|she|they|the (?:man|woman|guy|couple|family|people)"
    r"(?: next door| upstairs)?|someone|somebody|a (?:man|woman|guy|boy|girl|friend|stranger))"
)
_THEY = rf"(?:{_MINE}(?:'s (?:{_PARTNER}|{_FAMILY}|{_AROUND}))?|{_SOMEONE})\b"
_DEAR = (
    rf"(?:my (?:\w+ )?(?:{_FAMILY}|{_PARTNER}|{_AROUND})|a (?:\w+ )?friend(?: of mine)?|he|she)\b"
)
_SELF = r"(?:my ?self|me self)"
_ONESELF = r"(?:(?:him|her|them) ?sel(?:f|ves))"
_LETHAL = (
    r"(?:kill|hang|shoot|drown|stab|off|poison|suffocate|strangle|hurl|murder)(?:p?ing|b?ing)?"
)
_WOUND = r"(?:cut|hurt|harm|burn|injur|scratch|stab|starv|punch|hit|punish|mutilat)(?:e|t?ing)?"
_MEAN = (
    r"(?:want|wanting|need|needing|going|plan|planning|about|urges?|feel like|feeling like|decided"
    r"|ready|tempted|try|trying|tried|wish|intend|thinking (?:of|about)|think (?:of|about)"
    r"|thought (?:of|about)|thoughts (?:of|about)|considering|considered|like|might|will|would like"
    r"|have to|should|could just|dream(?:ing|t)? (?:of|about)|fantasi[sz](?:e|ing) (?:of|about))"
)
_SOFT = (
    r"(?: to| of| about| just| really| actually| simply| only| so badly| be| even| also| maybe)*"
)
_PILLS = r"(?:pills|tablets|medication|meds|painkillers|paracetamol|tylenol|xanax)"
_LIVE = (
    r"(?:live|living|be alive|being alive|exist|existing|go on living|continue living"
    r"|keep living|carry on living|keep on living)"
)
_PLACE = (
    r"(?! (?:in|with|at|on|near|alone|by|here|there|next|under|together|somewhere|off|out"
    r"|paycheck|far|so far|close|that way|without|it|my life|up to|through|back|away|long)\b)"
)
_VICTIM = (
    rf"(?:him|her|them|you|(?:some|any|every)(?:one|body)|people|others|(?:my|our|his|the|that|this"
    rf"|their) (?:\w+ )?(?:{_FAMILY}|{_PARTNER}|{_AROUND}|man|guy|woman|bastard|family|bitch"
    rf"|class|person|coworkers|colleagues))"
)
_ATTACK = (
    r"(?:kill|murder|stab|shoot|strangle|poison|hurt|harm|chok|smother|suffocat|rap|tortur"
    r"|slaughter|butcher|attack)(?:e|b?ing|t?ing)?"
)
_STRIKES = (
    r"(?:headbutts?|headbutted|spits on|spat on|drags|dragged|pinned|pins|burned|burnt"
    r"|stabbed|stabs|shot at|tortures|tortured|drugged|kidnapped|harasses|harassed|hits|beats"
    r"|slaps|punches|kicks|chokes|strangles|rapes|molests|gropes|abuses|whips|burns"
    r"|assaults|hitting|beating|slapping|punching|kicking|choking|strangling|raping|molesting"
    r"|abusing|slapped|punched|kicked|choked|strangled|raped|molested|groped|abused|whipped"
    r"|assaulted|hit|beat|beaten|smacked|smacks|rape|abuse|molest)"
)
_AS_WELL_AS_GAMES = (
    r"(?! (?:at|in the back|by (?:a|one|two)|in (?:\w+ ){0,2}(?:games?|race|match|chess|cards"
    r"|tennis|poker|boxing|mario|sprint|quiz|pool"
    r"|golf|debate|competition|tournament|finals?|monopoly|contest|car|traffic|chat)|to (?:it|the"
    r" (?!ground"
    r"|floor|wall))|hard in|out|off|on (?:my|the) (?:bike|shoulder|high|free)\w*|without (?!asking"
    r"|mercy|a"
    r" reason)|from behind|again at|that|like a (?:wave|truck|ton)"
    r"|with (?:a (?:pillow|great|good|question|bill|ball|snow)|(?:a|his|her|their) (?:car|truck"
    r"|words|bike)"
    r"|some|the news|words))\b)"
)


@dataclass(frozen=True)
class _Rule:
    danger: Danger
    pattern: re.Pattern[str]
    deniable: bool
    told: bool
    """Whether it speaks of others, so that a film or a book may be meant."""


def _rules(
    danger: Danger, *patterns: str, deniable: bool = True, told: bool = False
) -> Iterator[_Rule]:
    for pattern in patterns:
        yield _Rule(danger, re.compile(rf"\b(?:{pattern})"), deniable, told)


_RULES: Final[tuple[_Rule, ...]] = (
    *_rules(
        "self_harm",
        rf"(?<!hardly )(?P<verb>{_LETHAL}) {_SELF}\b"
        r"(?! in (?:work|homework|debt|school|study|studies|training|tears)\w*)",
        rf"{_MEAN}{_SOFT} (?P<verb>{_WOUND}) {_SELF}\b",
        rf"(?P<verb>(?:cut|hurt|harm|burn|starve|hit|punch)(?:t?ing)?) {_SELF}"
        r" (?:on purpose|deliberately|again|tonight|today|now|last night|because i|until i bleed"
        r"|to feel|when i am (?:sad|alone|upset)|every (?:day|night))\b",
        rf"(?:keep|kept|been|started|start|stop|back to|by|addicted to) (?P<verb>cutting|hurting"
        rf"|harming|burning|starving|scratching) (?:{_SELF}|my (?:arms?|wrists?|legs?|skin))",
        r"(?:used|began|started|want) to (?P<act>cut) myself\b|when i (?:cut|hurt) myself(?=[.,!?]"
        r"|$)",
        r"(?P<verb>cut|slit|slash|slic)(?:e|t?ing|ed)? (?:open )?my (?:own )?"
        r"(?:wrists?|arms?|thighs?|veins?|throat)\b",
        r"(?:the|an|strong|my) urges? to (?P<verb>cut|self harm)\b",
        r"(?P<verb>cutting) (?:my (?:arms?|wrists?|legs?|skin)|helps)",
        r"\bi\b[^.?!]{0,40}(?P<verb>self ?harm(?:ed|ing|s)?)\b",
        r"(?P<verb>(?:end|tak|finish)(?:e|ing)?) (?:my|this) (?:own )?(?:miserable )?life\b",
        r"(?<!the )(?P<verb>end(?:ing)?) (?:it all|everything|my (?:pain|suffering))\b",
        r"i (?:just )?want it all to (?P<act>end|be over|stop)\b",
        r"(?:plan|want|ready|going|decided)(?:ning)? to (?P<verb>end) (?:it|things)(?=[.!,]|$| now"
        r"| tonight)",
        r"(?:i|you) (?:will )?not hear from me (?:again|after|any)|last night on earth\b",
        r"(?:i|just|really|to|and|simply|honestly|have|am)"
        r" (?:want|wanting|been wanting|(?:have|always|often) wanted|wish|ready|plan|planning"
        r"|decided|choose|prefer|need|trying)"
        rf"{_SOFT} (?P<verb>die|be dead)\b",
        r"(?:wish|hope|pray)(?:ing)? (?:that )?i (?:(?:was|were|am) (?:dead|not alive|never born)"
        r"|could (?:just )?(?:die|be dead)|had never been born|would (?:just )?die|die\b)",
        r"(?:deserve|should just|let me|rather|better off)(?: to)? (?:just )?(?:be dead|dead)\b",
        r"(?:i deserve to|i should(?: just)?|just let me|let me) (?P<verb>die)\b",
        r"rather die than (?:live|keep|go on|be alive|wake|face|continue|stay)\b",
        r"(?:i am|i feel|i have been|i get|i was|been|being|feeling|am i)(?: \w+){0,3}"
        r" (?P<verb>suicidal)\b",
        r"(?:my|i|having|with|of|had|these|the)(?: \w+){0,3} (?P<verb>suicidal) (?:thought|feeling|"
        r"idea|urge|tendenc)",
        r"\bi\b[^.?!]{0,40}\b(?:think|thinking|thought|thoughts|want|consider|considering|plan"
        r"|planning|contemplat\w+|attempt\w*|tried|about)\b[^.?!]{0,25}(?P<verb>suicide)\b(?!"
        r" (?:squad"
        r"|prevention|hotline|mission|note in))",
        r"(?P<verb>commit(?:ting)?) suicide\b",
        r"suicide (?:is|seems|would be|feels|looks|sounds|might be|may be)(?: \w+){0,3}"
        r" (?:way|option|answer|solution|choice|mind|good|better|best)\b",
        r"i (?:have |just |already )*(?:took|taken|swallowed|overdosed|downed)"
        r"[^.?!]{0,25}(?:whole|all|entire|bottle|many|handful|bunch|pack|overdose)"
        rf"[^.?!]{{0,20}}{_PILLS}",
        rf"(?:want|going|will|plan|planning|about)\b[^.?!]{{0,15}}(?P<verb>take|swallow) "
        rf"(?:all|a bottle|a whole|every)[^.?!]{{0,20}}{_PILLS}",
        r"(?:going|want|will|plan|planning|try|trying|tried|might|thinking (?:of|about)|about)"
        r"(?: to)? (?P<verb>overdos(?:e|ing))\b|i (?:have )?(?P<act>overdosed)\b",
        r"(?:want|going|about|think|thinking|thought|ready|plan|planning|urge|might)"
        r"[^.?!]{0,20} (?P<verb>jump(?:ing)?|step(?:ping)?|throw(?:ing)? myself|walk(?:ing)?)"
        r" (?:off|from|in front of|out of|under|into) (?:a|the|this|my|that|of)? ?(?:moving |tall "
        r"|next )?"
        r"(?:bridge|roof|building|train|balcony|window|cliff|tracks|traffic|car|bus|truck|ledge)\b",
        r"(?:want|going|about|think|thinking|thought|urge|might)[^.?!]{0,20}"
        r" (?P<verb>driv(?:e|ing)|crash(?:ing)?|steer(?:ing)?|swerv(?:e|ing))[^.?!]{0,12}"
        r" (?:into|off) (?:a|the|this|that|oncoming) ?(?:tree|wall|bridge|cliff|river|truck"
        r"|traffic|"
        r"pole)",
        r"(?:standing|sitting) on (?:the|a) (?:bridge|ledge|roof|edge)\b",
        r"(?:tie|make|tied|made) a noose\b|gun in my (?:hand|mouth)|gun to my head",
        r"i (?:have |just |already )?(?:wrote|written|writing|am writing|left) (?:my |a |the |some"
        r" )*"
        r"(?:goodbye|good bye|suicide|farewell) (?:letter|note)",
        r"how many\b[^.?!]{0,30}(?:kill me|to die|overdose|kill myself)\b",
        r"(?:ways?|methods?|how) (?:for me )?(?:to|i can|can i|do i) (?:kill (?:yourself|myself)"
        r"|end my life|commit suicide)",
        r"(?:painless|easiest|easy|quick|quickest|peaceful|fastest|fast|simplest|best) (?:way"
        r"|method)s? to die\b"
        r"(?! in)",
        r"(?:sav|stockpil|hoard|collect)ing (?:up )?(?:all )?(?:my |some )?(?:\w+ )?pills\b",
        r"(?P<a>cut|harm|burn|starv|scratch|punish|mutilat|injur)(?:e|ed|t?ing|ing|ned)? my ?self\b"
        r"(?! (?:on (?!purpose)|while|when i was|with|playing|doing|lifting|running|by accident"
        r"|trying|falling|in"
        r"|shaving|cooking|off|out|short|some|a |from|at|badly|out|slack))",
        r"(?<!accidentally )(?:keep|kept|started|start|back to|been|stop|tried|find myself)(?:"
        r" \w+)? (?P<b>hurting"
        r"|cutting|harming) (?:my ?self|again)",
        r"(?:need|urge|desire|want|wanted|going|temptation|hurt) to (?P<c>cut|hurt|harm|injure"
        r"|bleed|bleed out"
        r"|starve)\b(?= my ?self|[.,!?]|$)",
        r"\bcutting (?:\w+ )?(?:calms|helps|soothes|relieves|makes me|is the only|feels)",
        r"(?:razors?|blades?|knife|scissors)\b[^.?!]{0,30} (?:my|to) (?:skin|wrists?|arms?|legs?"
        r"|throat|veins?)",
        r"\b(?:i|my|me)\b(?! (?:work|volunteer))[^.?!]{0,60} (?P<d>suicide|suicidal)\b(?! (?:squad"
        r"|prevention|hotline"
        r"|mission|awareness|line|bomber))(?<!lost \w\w to suicide)(?<!by suicide)(?<!to suicide)"
        r"(?<!committed suicide)",
        r"my (?:own )?suicide\b",
        r"(?:wish|want|hope|need)(?:ing)? (?:that )?(?:someone|somebody|god|they) (?:would|to"
        r"|could)(?: just)? kill"
        r" me\b",
        r"(?:want|wish|need|beg\w*|pray\w*)[^.?!]{0,15} (?:the|this|my|all the|all this) (?:pain"
        r"|suffering|life|misery)"
        r" (?:to )?(?:just )?(?:end|stop|be over|would end|over)\b",
        r"not deserve to (?:live|be alive|exist)|should (?:not|never) (?:be alive|exist|have been"
        r" born)"
        r"|should have died\b",
        r"leave this (?:world|earth|life|planet)|(?:depart|exit) this (?:world|life)",
        r"(?:hate|hating) (?:being alive|living|existing)(?=[.,!?]|$| any)",
        r"(?:giv\w+ up on|done with|done|through with) (?:life|living)(?=[.,!?]|$| any| and)",
        r"goodbye (?:cruel )?world|this is (?:my )?goodbye|my (?:last|final) (?:message|goodbye"
        r"|words|day on)",
        r"end to (?:my|this) (?:life|misery|suffering)|bullet (?:in|through|to) my|out of my"
        r" misery\b",
        r"(?:rope|noose|belt|cord) around my neck",
        r"(?:bleed (?:out|to death)|drink (?:some )?(?:bleach|poison)|drinking bleach|carbon"
        r" monoxide|gas myself)\b",
        r"(?:walk|walking|run|running|swim) (?:out )?into (?:the )?(?:sea|ocean|traffic|river"
        r"|lake) and",
        r"(?:lie|lying|lay) (?:down )?on the (?:train )?(?:tracks|rails|railway)",
        r"(?:throw|throwing|fling|hurl) my ?self (?:off|under|in front|from|out|into|down)",
        r"(?:jump|fall|drink|starve) (?:my ?self )?to (?:my )?death\b",
        r"danger to my ?self|not trust my ?self (?:not to|tonight|alone|with|around)|not safe"
        r" (?:with|from) myself",
        r"thoughts? (?:of|about) (?:dying|ending|not being here|not existing|death|hurting myself"
        r"|self|cutting)",
        r"(?:imagin\w+|pictur\w+|dream\w*|fantasi\w+|thought|thinking|think|visuali\w+|thoughts)"
        r"(?: (?:about|of|what|how|like))* (?:\w+ ){0,3}(?P<e>crash(?:ing)?|jump(?:ing)?"
        r"|hang(?:ing)?|drown(?:ing)?"
        r"|driv(?:e|ing))[^.?!]{0,20} (?:into a|off (?:a|the|my)|in front|myself|under a|from a)",
        r"(?:garage|roof|bridge|building|ledge|balcony|cliff|tower|window)\b[^.?!]{0,30}"
        r" (?P<x>jump)(?=[.,!?]|$)",
        r"want to be gone for good|(?:living hurts|it hurts to (?:live|be alive|exist))",
        r"how (?:much|many) \w+ (?:is|are|would be) (?:lethal|fatal|deadly)|lethal dose",
        r"pills\b[^.?!]{0,40} (?:take|swallow|taking|took|swallowed) (?:them all|all of them|every"
        r"|the lot|them"
        r" tonight)",
        r"(?:jump|step|leap|walk|run|throw myself)\w* in front of (?:a|the|an?) (?:\w+ )?(?:train"
        r"|car|bus|truck|tram"
        r"|lorry|metro)",
        r"(?:painless|painful|easiest|easy|quick|quickest|peaceful|fast|fastest|simplest|gentle"
        r"|sure|surest|clean)"
        r" (?:and \w+ )?ways? (?:to|of|for me to) (?:die|go\b|dying|end)",
        r"(?:i|to) (?:\w+ )?(?:really |just )?want (?:to )?(?P<f>die)\b|(?:end|ending|take) my"
        r" (?:live|own live)\b",
        r"(?:planned|planning|plan|date|note) (?:for |out )?(?:my|to) (?:suicide|death|die)\b",
        r"blow(?:ing)? my (?:own )?(?:brains?|head) out\b",
        r"(?:want|wish|hope|going|ready)[^.?!]{0,25} (?:sleep|be gone|disappear|rest) for ?ever\b",
        r"(?:join|be with|see) (?:him|her|them|my \w+ \w+)[^.?!]{0,12} (?:in heaven|again, i want"
        r"|in death|on the other side)|dead (?:\w+ )?(?:again|too)\b[^.?!]{0,20}join",
    ),
    *_rules(
        "self_harm",
        rf"not (?:\w+ )?(?:want|wish|care|feel like|desire|plan|need)(?:ing)?(?: to)?"
        rf" {_LIVE}\b{_PLACE}",
        r"not (?:\w+ )?(?:want|wish)(?:ing)? to be here(?: any| on earth|[.!,]|$)",
        r"not (?:\w+ )?(?:want|wish|hope)(?:ing)? to (?:ever )?wake up(?: any| tomorrow| again"
        r"|[.!,]|$)",
        r"(?:wish|hope|pray|want|rather)[^.?!]{0,30}(?:never|not) wake up\b(?! (?:until|till"
        r"|before|for|at))",
        r"can ?not (?:just )?(?:go on )?(?:live|living)(?: any| like this| with this pain|[.!,]|$)",
        rf"(?:tired|sick|done|fed up|exhausted|weary)(?: of| with) (?:{_LIVE}|(?:my"
        rf" )?life)\b{_PLACE}",
        r"no (?:point|purpose) (?:in|to) (?:my )?life\b",
        r"(?:no|any|a|see|lost|without|little) (?:reason|point|purpose|use|sense|will|desire)s?"
        rf"(?: \w+)? (?:to|in|of|for)(?: me to| me)?(?: go on| keep| keep on| continue| be)?"
        rf" {_LIVE}"
        rf"\b{_PLACE}",
        rf"point (?:of|in|to) (?:{_LIVE}|going on)\b{_PLACE}(?! (?:insurance|jacket))",
        r"(?:no|any|a|see|one|another|single) (?:good )?reasons?(?: \w+)? to (?:stay|stay alive"
        r"|keep going|be here"
        r"|get through|keep on|wake up|continue|go on)(?=[.,!?]|$| any| in this| on this)",
        r"nothing (?:\w+ ){0,4}to live for|not (?:have|see|find) (?:anything|a thing|much) to live"
        r" for",
        r"wish (?:that )?i (?:did not|had never|was not|were not|could stop|could cease) (?:exist"
        r"|existed|existing|here"
        r"|alive|be alive|to exist|been born|born|wake up|woken up|living)",
        r"(?:not|never|no longer) (?:\w+ )?(?:want|wish|wanting)(?: to)? (?:live|be|stay|go on"
        r"|continue|exist|remain)"
        r"(?: living| alive)? (?:on this (?:earth|planet)|in this world|with (?:this|the|all this)"
        r" (?:pain|guilt"
        r"|shame|grief|suffering|depression)|like this|any more|alive|one more|another day)"
        r"(?! (?:in|at|with (?!this|the pain))\b)",
        r"if i (?:died|was gone|were gone|disappeared|killed myself|was dead|were dead|die"
        r"|vanished)\b[^.?!]{0,25}"
        r" (?:no ?(?:one|body)|who would|they would|everyone|not (?:even )?(?:care|notice|miss"
        r"|matter))",
        r"(?:can ?not|not) (?:\w+ ){0,2}(?:bear|stand|face|handle|take)(?: the thought of)?"
        r" (?:living|being alive"
        r"|another day(?=[.,!?]|$)|one more day(?=[.,!?]|$)|to live)",
        r"lost (?:the|my|all) will to live|nothing (?:\w+ )?to live for|no reason for living",
        r"(?:not|hardly|never|is) worth living\b(?<!is worth living)|is life (?:even )?worth"
        r" living",
        r"(?:would|do) not (?:really )?(?:mind|care)(?: if| whether) (?:i (?:die|died|live|never"
        r" woke"
        r"|was dead|were dead|did not wake)|(?:a|the) (?:car|bus|truck|train))",
        r"(?:wish|hope|want)(?:ing)? (?:a|the|some|that a) (?:car|bus|truck|train"
        r"|lorry)\b[^.?!]{0,12}"
        r"(?:hit|run|kill)",
        r"(?:no ?(?:one|body)|who) would (?:even )?(?:care|miss me|notice|mind|be sad"
        r"|cry)\b[^.?!]{0,12}"
        r"if i (?:died|was dead|were dead|was gone|were gone|disappeared|killed|die|jumped)",
        r"(?:better|happier|easier)(?: off| place)? (?:without me|if i (?:was|were|am|had) (?:gone"
        r"|dead"
        r"|not here|never))",
        r"(?:death|dying|being dead) (?:would|will|is|seems|sounds|feels|must|looks)(?: \w+){0,4}"
        r" (?:relief|easier|better|only|peaceful|escape|nice|way out|option|good)\b",
        r"(?:can ?not|not) (?:\w+ ){0,3}(?:keep|stay) (?:myself )?safe\b",
        r"can ?not promise\b[^.?!]{0,15}not (?:hurt|kill|harm|cut)",
        r"not (?:be|see) (?:here|there|around|alive) (?:tomorrow|any more)[^.?!]{0,25}(?:life"
        r"|goodbye)",
        deniable=False,
    ),
    *_rules(
        "other_at_risk",
        rf"{_DEAR}[^.?!]{{0,70}}(?:want|wants|wanted|going|threat\w+|try|trying|tried|tries|talk\w*"
        r"|think\w*|plan\w*|say\w*|said|will|might|may|keeps|about|would|attempt\w*|promised|could)"
        rf"{_SOFT} (?P<verb>{_LETHAL}|{_WOUND}) {_ONESELF}",
        rf"{_DEAR}[^.?!]{{0,40}} (?P<verb>cutting|hurting|harming|burning|starving)"
        rf" {_ONESELF}\b(?! on)",
        rf"{_DEAR}[^.?!]{{0,25}} (?:is|feels|seems|sounds|gets|has been|being|feeling) (?:\w+ )?"
        r"(?P<verb>suicidal)",
        r"my \w+ after (?:a|the|his|her) suicide attempt",
        rf"{_DEAR}[^.?!]{{0,60}} (?:overdosed|(?:took|taken) an overdose|(?:cut|slit|slashed|cuts)"
        rf" (?:his|her|their)"
        r" (?:wrists?|arms?))",
        rf"{_DEAR}[^.?!]{{0,70}} (?P<a>suicidal|suicide|self ?harm\w*|(?:kill|hurt|harm|hang|shoot"
        rf"|cut|drown)(?:ing|t?ing)?"
        rf" {_ONESELF}|end(?:ing)? (?:it all|(?:his|her|their) life)|tak(?:e|ing) (?:his|her"
        rf"|their) (?:own )?life)\b"
        r"(?<!committed suicide)(?<!by suicide)(?<!to suicide)(?<!and hurt \wimself)(?<!cut"
        r" \werself)"
        r"(?! (?:on|some|while|at the|playing))",
        rf"{_DEAR}[^.?!]{{0,30}} (?:is|are|was) (?:going to|about to|threatening to) (?P<b>jump)\b",
        rf"{_DEAR}[^.?!]{{0,50}} (?:has|have|having|with) (?:\w+ )?(?P<verb>suicidal) (?:though"
        rf"|id)",
        rf"{_DEAR}[^.?!]{{0,60}}\b(?:wants? to|wanting to|wishes to|ready to|going to)(?: just)?"
        r" (?P<verb>(?<!going to )die|be dead|commit suicide|end (?:it all|his|her|their"
        r"|everything))\b",
        rf"{_DEAR}[^.?!]{{0,50}} (?:talk\w*|think\w*|threat\w*|plan\w*|try\w*|tried|consider\w*"
        r"|mention\w*|about|attempted)[^.?!]{0,15} (?P<verb>suicide|ending (?:his|her|their) life"
        r"|taking (?:his|her|their) (?:own )?life)\b",
        rf"{_DEAR}[^.?!]{{0,40}} (?:took|swallowed|overdosed)[^.?!]{{0,20}}(?:whole|all|bottle|too"
        rf" many|"
        rf"handful)[^.?!]{{0,20}}{_PILLS}",
        rf"{_DEAR}[^.?!]{{0,30}} (?P<verb>self ?harm(?:s|ing)?)\b",
        rf"{_DEAR}[^.?!]{{0,30}} (?:sent|wrote|left|posted)[^.?!]{{0,15}}(?:goodbye|suicide"
        rf"|farewell) "
        r"(?:note|letter|message|text)",
        told=True,
    ),
    *_rules(
        "other_at_risk",
        rf"{_DEAR}[^.?!]{{0,60}} (?:not|n't) (?:\w+ )?(?:want|wish)(?:s|ing)? to (?:live|be alive"
        rf"|exist|be"
        rf" here any|wake up)\b{_PLACE}",
        rf"{_DEAR}[^.?!]{{0,50}} (?:(?:rather|better) (?:be )?dead|better off (?:dead|without"
        rf" (?:him|her|them))|not worth living"
        r"|no (?:reason|point) (?:to|in) liv\w+|nothing to live for|wish\w* (?:he|she|they) (?:was"
        r"|were)"
        r" dead)",
        deniable=False,
        told=True,
    ),
    *_rules(
        "harm_to_others",
        rf"(?:i|and|to|just|really|me|of|about) (?:\w+ )?{_MEAN}{_SOFT}"
        rf" (?P<verb>{_ATTACK}) {_VICTIM}\b(?! (?:at (?!work|school|home|my|the office)|in (?:a"
        rf"|the) (?:game|race|quiz|match|final)|feelings|with kindness|for (?:a|eating"
        r"|that|forgetting))\b)(?!'s)",
        rf"(?:think(?:ing)? (?:about|of)|thoughts? (?:about|of)|feel(?:ing)? like|fantas\w+"
        rf" (?:about|of)"
        rf"|dream\w* (?:about|of)|me from|urges? of|idea of) (?P<verb>killing|murdering|stabbing"
        rf"|shooting"
        rf"|strangling|poisoning) {_VICTIM}\b(?! (?:an? (?:text|message|mail|email|look)))",
        rf"i (?:am )?(?:will|going to|swear i will) (?P<verb>{_ATTACK}|beat|destroy|end) "
        rf"{_VICTIM} (?:to death|if|and i mean|when i|one day|tonight|tomorrow)\b",
        rf"(?P<verb>beat(?:ing)?) {_VICTIM} (?:to death|to a pulp|to pieces)",
        r"(?:want|wanted|going|will|thinking (?:of|about)|plan|planning|says?)[^.?!]{0,25}"
        r" (?P<verb>shoot(?:ing)?(?: up)?|bomb(?:ing)?|blow(?:ing)? up|burn(?:ing)? down"
        r"|attack(?:ing)?)"
        r" (?:up )?(?:my|the|his|her|their|a|our) (?:\w+ )?(?:school|office|work ?place|church"
        r"|mosque|"
        r"synagogue|house|home|mall|college|university|class|building|place|store|hospital)",
        r"(?:bring|brought|take|taking|bringing) (?:my|a|the) (?:gun|knife|rifle|weapon) to"
        r" (?:school|work|the office|class|church)",
        r"\bi (?:want|wish|need) (?:him|her|them|my \w+) (?P<verb>dead|to die)\b",
        r"(?:gun|knife|weapon|rifle|bat)\b[^.?!]{0,60}\b(?:make|making) (?:him|her|them|everyone)"
        r" (?:all )?(?:pay|suffer)|make (?:him|her|them) (?:pay|suffer)[^.?!]{0,30}(?:gun|knife)",
        r"deserves? to die(?:,)? and i\b",
        rf"\bi (?:want|am going|will|plan|intend|need|might|may|could really|swear|think i)(?:"
        rf" \w+){{0,4}} "
        rf"(?P<a>{_ATTACK}) {_VICTIM}\b(?! (?:at|in|feelings|with kindness|for (?:a|eating|that"
        r"|forgetting)|an? (?:text|message)|if they spoil)\b)(?!'s)",
        rf"thoughts? (?:of|about) (?P<b>harming|hurting|killing|stabbing|shooting|drowning"
        rf"|smothering"
        rf"|strangling|attacking) {_VICTIM}\b",
        r"(?:set|setting) (?:him|her|them|my \w+|(?:his|her|their|the) (?:house|home|car|flat))(?:"
        r" \w+)? on fire",
        r"(?:mass shooting|build a bomb|make a bomb|hit list|cut (?:his|her|their) throat)\b",
        r"(?:poison|poisoning) (?:his|her|their|my \w+'s) (?:food|drink|tea|coffee|water)",
        rf"\bi (?:\w+ ){{0,3}}(?P<c>punched|slapped|hit|hurt|choked|kicked|strangled|attacked"
        rf"|stabbed|beat|shoved"
        rf"|threw) (?:my|our|the) (?:\w+ )?(?:{_PARTNER}|son|daughter|kids?|child|children|baby"
        rf"|mom|mother"
        rf"|dad|father|grandmother|toddler|student|patient)\b{_AS_WELL_AS_GAMES}(?! feelings|'s)",
        r"\b(?:can ?not|could not|can not) stop (?:myself )?(?:from )?(?:hitting|hurting|beating"
        r"|slapping|abusing)"
        r" (?:him|her|them|my)",
        r"\bi (?:\w+ ){0,2}(?P<d>hit|beat|slapped|punched|choked|kicked) (?:him|her) (?:again|so"
        r" hard|last"
        r" night|until|when i)",
        rf"{_DEAR}[^.?!]{{0,60}} (?:wants?|threat\w+|says?|said|going|plan\w*|talk\w*)"
        rf" [^.?!]{{0,20}}"
        rf"(?P<e>kill|stab|shoot|murder|attack|killing|stabbing|shooting) (?:his|her|their|people"
        rf"|some|every|us)",
        r"run(?:ning)? (?:him|her|them) over\b[^.?!]{0,15}\bcar",
        r"voices?\b[^.?!]{0,20} (?:tell|telling|say|saying|want)\b[^.?!]{0,10} (?:me )?to (?:hurt"
        r"|kill|stab"
        r"|harm|attack)",
        r"how (?:can|do|could|would|to)(?: i| you)? (?:poison|kill|murder) (?:some(?:one|body)|a"
        r" person"
        r"|my|him|her|people)",
        rf"\bi (?:just |have |had |really )*(?P<verb>hit|beat|slapped|punched|choked|shook|kicked"
        rf"|strangled|smacked|burned|pushed) (?:my|our) (?:\w+ )?(?:{_PARTNER}|(?:step )?(?:son"
        rf"|daughter"
        rf"|child|kids?|children|baby|mom|mother|dad|father|grandmother)){_AS_WELL_AS_GAMES}",
        rf"(?:keep|kept|stop|started|been|ended|ended up)(?: physically)? (?P<verb>abusing|hitting"
        rf"|beating|slapping|punching|hurting|shaking"
        rf"|choking) (?:my|our) (?:\w+ )?(?:{_PARTNER}|{_FAMILY})\b|ended (?:up )?(?P<act>abusing)"
        rf" (?:her|him)",
        rf"{_DEAR}[^.?!]{{0,60}}(?:going to|will|wants? to|threat\w+ to|plans? to"
        rf"|says?)[^.?!]{{0,20}}"
        rf" (?P<third>(?:kill|murder|stab|shoot)) (?:his|her|their|people|some(?:one|body)"
        rf"|every(?:one|body)|"
        r"us|them|you)\b(?! ?sel)",
        told=True,
    ),
    *_rules(
        "abuse",
        rf"(?:{_OURS}|he|she|a (?:man|guy)){_OFTEN} (?P<verb>{_STRIKES})(?: up)? (?:me|us)\b(?:"
        rf" up(?! for| to| at| early))?"
        rf"{_AS_WELL_AS_GAMES}",
        rf"(?:{_SOMEONE}){_OFTEN} (?P<verb>punche[sd]|punch|slap(?:s|ped)|kick(?:s|ed)|chok(?:es"
        rf"|ed)|beats? me up"
        r"|strangle[sd]) me\b(?! (?:out|off|at|in (?:a|the) (?:game|match)))",
        r"(?:was|were|been|being|got|get|am|getting|be)(?: \w+){0,2} (?P<verb>raped|molested"
        r"|groped)\b",
        r"\bi (?:\w+ ){0,4}(?:was|been|being|got|get|am|getting)(?: \w+){0,2}"
        r" (?P<verb>abused|strangled|choked|stalked|sexually assaulted|assaulted|rapped)\b(?!"
        r" (?:up|by the smell))",
        r"\bi (?:\w+ ){0,4}(?:was|been|being|got|get|am|getting)(?: \w+){0,2}"
        rf" (?P<verb>beaten(?: up)?)\b{_AS_WELL_AS_GAMES}",
        r"(?P<verb>raped|molested|groped|raping|molesting|sexually assaulted|sexually abused) me\b",
        r"(?:i am|i was|me|i have been|been) (?:a |the )?(?:victim|survivor) of (?:\w+"
        r" )?(?:domestic"
        r"|sexual|child|abuse|rape)",
        r"\b(?:i|my|me)\b(?: (?!her\b|his\b|their\b)\w+){0,7} (?P<verb>abusive|violent)(?: \w+)?"
        r" (?:relationships?|marriage|home|household|partner|boyfriend|husband|wife|girlfriend"
        r"|father"
        r"|mother|parents?|dad|mom|ex|situation)\b",
        r"(?P<verb>abus(?:es|ed|ing|e)|abusive (?:to|towards?)|(?:and|stop|keeps) stalking) me\b",
        r"\b(?:i|my|me)\b[^.?!]{0,50} (?:history of|endured|suffered|survived|survivor of|past"
        r"|childhood|from)"
        r" (?P<verb>sexual|physical|domestic)(?: and \w+)? (?:abuse|violence|assault)",
        r"\bi (?:\w+ ){0,3}(?:was|get|got|am|have been|am being|been)(?: \w+){0,2} (?P<a>hit"
        r"|slapped|punched|kicked"
        r"|whipped|choked|burned|beaten|grabbed|drugged|attacked) by (?:my|him|her|a man|someone"
        r"|his)",
        r"(?:black eye|broken? (?:rib|arm|nose|jaw)s?|bruises?|concussion|scars?)\b[^.?!]{0,30}"
        r" (?:because|from|when|after)"
        r" (?:my|he|she|what he|what she)",
        rf"{_THEY}[^.?!]{{0,20}} (?:gave|gives|left) me (?:with )?(?:a |an )?(?:black eye|bruises?"
        rf"|concussion|scars)",
        rf"{_THEY}[^.?!]{{0,20}} broke my (?:arm|ribs?|nose|jaw|wrist|finger|tooth|teeth)",
        r"(?:held|holds|put|puts|pulled|pulls|pointed) (?:a|the|his|her) (?:knife|gun) (?:to|on|at"
        r"|against) (?:my|me)",
        rf"{_THEY}[^.?!]{{0,20}} (?:threatens|threatened) me (?:with|physically)|(?:fear|fearing"
        rf"|scared|afraid)"
        r" for my life with (?:him|her)",
        r"(?:afraid|scared|terrified|frightened) of my (?:\w+ )?(?:husband|wife|boyfriend"
        r"|girlfriend|partner|dad"
        r"|father|mother|mom|step \w+|uncle|ex|brother)\b(?!'s)",
        r"(?:touch(?:es|ed|ing)?|grab(?:s|bed)?|feels?|felt) (?:my|me on my|me in) (?:a sexual"
        r"|private\w*|breasts?|chest|body"
        r"|thighs?|butt|bottom|crotch|genitals)",
        r"touch(?:es|ed|ing)? me (?:in )?(?:a |an )?(?:sexual|wrong|bad|inappropriate|weird"
        r"|improper)",
        r"(?:makes?|made|forces?|forced|pressures?|pressured|coerced) me (?:in)?(?:to )?(?:do"
        r"|doing|watch|perform"
        r"|having|give)[^.?!]{0,15}(?:sex\w*|naked|porn|oral|things with him|stuff to him)",
        r"(?:afraid|scared|terrified) of what (?:he|she|they|my \w+) (?:will|would|might|could) do"
        r" to me",
        rf"{_THEY}[^.?!]{{0,15}} (?:keeps?|kept|holds?|held) me (?:locked|prisoner|captive"
        rf"|trapped)",
        r"without my consent|against my will\b|took advantage of me (?:when|while|sex)",
        r"(?:grabbed|grabs|held|holds|took) me by (?:the|my) (?:throat|neck|hair)",
        rf"(?:{_OURS}|he|she)[^.?!]{{0,20}} (?P<b>not) let me (?:see my (?:family|friends)|have"
        rf" (?:any )?money|eat"
        r"|work|talk to anyone|use (?:my|the) phone)\b(?! anything)",
        r"my (?:\w+ )?(?:daughter|son|child|sister|brother|mother|wife|friend|niece|nephew"
        r"|girlfriend|little"
        r" \w+)(?: \w+){0,3} (?:was|got|has been|is|is being|is getting)(?: being)? (?P<c>raped"
        r"|molested"
        r"|sexually \w+|abused|beaten|groped)\b",
        r"my (?:\w+ )?(?:daughter|son|child|sister|brother|friend|niece|nephew)[^.?!]{0,30}"
        r" (?:teacher|uncle|coach|man"
        r"|father|stepfather|step \w+|boy|priest|neighbou?r|cousin|grandfather|boyfriend)(?: \w+)?"
        r" (?P<d>touched|touches"
        r"|touching|raped|hurts|hit|beat|groped) (?:her|him)\b",
        rf"(?:{_MINE}|{_SOMEONE})[^.?!]{{0,25}} (?P<e>hits|beats|beating|hitting|beat|hit|slaps"
        rf"|abuses|chokes|raping"
        rf"|punching|kicking|abusing)(?: up)? (?:his|her|their|my|our|the) (?:own |little |\w+"
        rf" )?(?:{_PARTNER}|kids?|son"
        rf"|daughter|child|children|baby|mother|sister|toddler)\b{_AS_WELL_AS_GAMES}",
        r"(?:child(?:hood)?|sexual|domestic) (?:abuse|violence) survivor|puts? (?:his|her) hands"
        r" on me\b",
        r"(?:someone|somebody|he|she) hit me in the (?:face|mouth|head|eye|stomach)\b",
        rf"my (?:\w+ )?(?:{_FAMILY}|{_PARTNER}|{_AROUND}) (?:is|was|gets?|became|can be|has been"
        rf"|are|were)"
        r" (?:\w+ ){0,5}(?P<verb>abusive|violent|abusing (?:me|us))\b",
        rf"{_THEY}(?: \w+){{0,4}} (?P<verb>touch(?:es|ed|ing)?) me (?:at night|inappropriate|where"
        rf"|down|sex"
        r"|while|when i (?:am|was) (?:a|sleep)|in (?:my|the) (?:bed|sleep)|under|without|there|in"
        r" places)",
        r"my (?:step dad|step father|step brother|uncle|teacher|coach|priest|pastor|cousin"
        r"|grandfather"
        r"|grandpa|boss|dad|father|brother|tutor)(?: \w+)? (?P<verb>touches|gropes|fondles) me\b",
        r"(?:makes|made|forces|forced) me (?:to )?(?:touch|have sex|sleep with|strip|undress"
        r"|kiss)\b",
        r"(?:into|in) my bed (?:at night )?and (?:touch|rape|feel|undress)",
        r"(?:had|has|have|having) sex with me (?:anyway|while|when i|against|without|even)",
        r"forc(?:e|ed|es|ing) (?:him|her|them)sel\w+ on(?:to)? me\b",
        r"(?:not want|said no|told (?:him|her) (?:to stop|no))\b[^.?!]{0,20}(?:he|she|they) (?:did"
        r" not stop"
        r"|would not stop|kept going|did it anyway|had sex|continued)",
        r"(?:not|never)(?: ever)? lets? me (?:leave|out of|go out of) (?:the|my|our|his) (?:house"
        r"|home|room"
        r"|apartment|flat|bedroom)",
        rf"{_THEY}[^.?!]{{0,20}} (?P<verb>locks|locked|locking|ties|tied) me (?:in|up)\b",
        r"(?:afraid|scared|terrified|frightened|fear|worried)[^.?!]{0,15} (?:he|she|they|my (?:\w+"
        r" )?\w+)"
        r" (?:is going to|are going to|will|might|could|would) (?P<verb>hurt|kill|beat|hit|rape) me"
        r"\b(?! (?:if|when|for|once))",
        r"(?:afraid|scared|terrified|frightened) of (?:my (?:\w+ )?\w+|him|her|them)\b[^.?!]{0,25}"
        r" (?P<verb>hurts?|hits?|beats?|threatens?) me",
        rf"(?:my )?(?:{_FAMILY}|{_PARTNER})s? (?P<verb>hurts?|hurting) me\b[^.?!]{{0,30}}(?:afraid"
        rf"|scared|go home"
        r"|bruise|bleed|physically)",
        rf"{_THEY}[^.?!]{{0,25}} (?:is |keeps |has been |was )?(?P<verb>stalk(?:s|ing|ed)) me\b",
        rf"{_THEY}[^.?!]{{0,25}}(?:threat\w+ to|says? (?:that )?(?:he|she|they) (?:will|is going"
        rf" to|would)|said (?:he|she|they)"
        r" (?:will|would|is going to)|told me (?:he|she|they) (?:will|would)|tried to|trying to)"
        r" (?P<verb>kill|hurt|beat|rape|strangle|choke|stab|shoot|drown) me\b",
        r"bruise[sd]?\b[^.?!]{0,25} (?:he|she|they|my (?:husband|wife|dad|mom|boyfriend|father"
        r"|mother))\b",
        rf"{_THEY}[^.?!]{{0,20}} (?P<verb>pushe[sd]|push(?:es|ed)|threw|throws|shov(?:es|ed)"
        rf"|slamm(?:ed)"
        r"|slams|dragged|drags) me (?:down|against|into (?:a|the)|to the (?:ground|floor|wall)"
        r"|across|on the|by (?:my|the))",
        rf"{_THEY}(?: \w+){{0,3}} (?P<verb>threw|throws) (?:(?:a|the|an|his|her) )?(?:\w+ )?"
        r"(?:things|plates?|stuff|dish|dishes|glass|bottle|chair|phone|knife|pan|cup|mug|shoes?"
        r"|lamp|vase"
        r"|books?|remote) at (?:me|us)\b",
        r"\bi (?:get|got|was) (?P<verb>beaten|hit|slapped|whipped|choked) (?:up )?by (?:my|him"
        r"|her)",
    ),
    *_rules(
        "abuse",
        rf"(?:{_MINE}|{_SOMEONE})[^.?!]{{0,30}} (?P<verb>hits|beats|slaps|punches|kicks|chokes"
        rf"|rapes|molests"
        r"|abuses|whips|hitting|beating|raping|molesting|abusing|hurting|beats up)"
        rf" (?:up )?(?:his|her|their|my|our|the) (?:\w+ )?(?:{_FAMILY}"
        rf"|{_PARTNER})\b{_AS_WELL_AS_GAMES}",
        rf"(?:{_DEAR}|my (?:\w+ )?\w+'s (?:{_PARTNER}|{_FAMILY}|new \w+))[^.?!]{{0,12}}"
        rf" (?P<verb>hits|beats|slaps"
        rf"|punches|chokes|rapes|molests|abuses) (?:up )?(?:her|him|them)\b{_AS_WELL_AS_GAMES}",
        rf"{_MINE}[^.?!]{{0,25}} (?:is|are) being (?:\w+ )?(?P<verb>molested|abused|raped|beaten"
        rf"|hit|stalked)",
        rf"{_MINE}[^.?!]{{0,40}} (?:father|uncle|brother|mother|dad|boyfriend|husband)(?: \w+)?"
        rf" (?P<verb>rapes|"
        r"molests|beats|abuses|hits) (?:her|him|them)\b",
        rf"{_MINE}[^.?!]{{0,20}} (?:is|are) in an? (?P<verb>abusive|violent) (?:relationship"
        rf"|marriage|home)",
        told=True,
    ),
)


@dataclass(frozen=True)
class _Cues:
    """Words that speak of danger where they stand in one sentence, in any order."""

    danger: Danger
    all: tuple[re.Pattern[str], ...]
    none: re.Pattern[str]


_SPORT: Final = (
    r"game|games|race|match|chess|cards|tennis|poker|boxing|sprint|quiz|pool|golf|competition"
    r"|tournament|video|movie|film|book|novel|show|episode|series|character|laugh\w*|embarrass\w*"
    r"|lol|haha|insurance|car|truck|bike|ball|traffic|light|dog|puppy|cat|kitten|fish|plants?|bug"
    r"|bugs|spiders?|roach\w*|mice|mouse|ants?|bees?|snakes?|birds?|news|text|message|photo"
)


def _cues(danger: Danger, *words: str, none: str = "") -> _Cues:
    compiled = tuple(re.compile(rf"\b(?:{each})\b") for each in words)
    return _Cues(danger, compiled, re.compile(rf"\b(?:{_SPORT}{'|' if none else ''}{none})\b"))


_THING = (
    r"(?:time|phone|battery|grass|weeds?|mood|appetite|back|knees?|leg|arm|foot|feet|ankle|head"
    r"|hands?"
    r"|fingers?|feelings|chances?|self|vibe|buzz|pride|eyes|ears|budget|wallet|business|career|car"
    r"|house|computer|chance|shot|stomach|neck|shoulder|credit|reputation|heart|dreams?)"
)
_PERSON = (
    rf"(?:my (?!{_THING}\b)\w+|him|her|them|someone|somebody|people|everyone|a (?:person|child))"
)
_HE = r"(?:he|she|my (?!self\b)\w+|a friend|someone|somebody)"
_CUES: Final[tuple[_Cues, ...]] = (
    _cues(
        "self_harm",
        r"i",
        r"(?:i|to|just|be|being|me|am|was|were|should|would|by) (?:\w+ )?(?:die|died|dying|dead)"
        r"|about death",
        r"want|nice|all day|wish|wishing|rather|deserve|ready|better|easier|miss me|plan|planning"
        r"|pray|beg|without me|hope i"
        r"|wanna|relief",
        none=rf"dying to|dying for|{_HE}(?: \w+){{0,4}} (?:die|dies|died|dead|dying)|not want to"
        rf" die|of (?:heat"
        r"|hunger|boredom|shame|cold|old)|wanted to die|ready to be dead|going to die|dead"
        r" (?:tired|serious|end)"
        r"|not ready to die|no longer want to die|no wish to die|die than (?!live|go on|keep"
        r"|be)\w+|to see|want (?:him|her|them)|not dead|scared|afraid",
    ),
    _cues(
        "self_harm",
        r"i",
        r"(?:stay|be|being|staying|remain) alive|(?:to|keep|go on|of|on|be|not|about|stop) (?:live"
        r"|living|exist|existing)",
        r"not (?:even |really )?(?:sure|think) i (?:really )?want|not want|keep living|much longer"
        r"|stop living|not wish|not see|not feel like|no reason|tired|sick|hate|no point|what for"
        r"|do not know why"
        r"|can not find|not worth|stop|pointless",
        none=r"living (?:in|with|at|on|room|near|alone|here|paycheck|expenses|off|conditions"
        r"|costs?|for)|live (?:in|with"
        r"|at|on|near|alone|here|there|close|next|far|without|up|by|under|like that|together|off)"
        r"|lucky|glad"
        r"|happy to be alive|cost of living|the standard|make a living|music|events?|tv|stream\w*",
    ),
    _cues(
        "self_harm",
        r"i|my|me",
        r"overdos\w+|an? overdose|self ?harm\w*|self injur\w*|(?:am|been|started|start|keep|was)"
        r" cutting"
        r"(?: again| at night| when|$)",
        none=r"he|she|they|never|mow\w*|hair|wood|paper|vegetables|calories|carbs|cost\w*",
    ),
    _cues(
        "other_at_risk",
        rf"{_HE}(?: \w+){{0,12}}? (?:suicid\w+|overdos\w+|an overdose|self ?harm\w*|die|not want"
        rf" to live|not want"
        rf" to be alive|kill\w* {_ONESELF}|hurt\w* {_ONESELF}|harm\w* {_ONESELF}|cutting"
        rf" {_ONESELF})",
        r"wants?|wanting|tried|tries|trying|says?|said|told|wrote|is|going|might|will|threat\w+"
        r"|talk\w*|jok\w*"
        r"|keeps?|think|thinks|overdos\w+|took",
        none=r"years? ago|last year|died|killed (?:him|her|them) ?self|committed suicide|hotline"
        r"|not suicidal"
        r"|prevention|going to die|squad|mission|deserves?|(?:is|was|not|never|does|did) n?o?t?(?:"
        r" \w+)? (?:hurting|hurt|harm\w*)"
        r"|fell|die of|accident\w*|i (?:am|feel|was) suicid\w+|my suicid\w+|my self|to die (?:in"
        r"|at|from|for)",
    ),
    _cues(
        "harm_to_others",
        r"i|me",
        rf"(?:kill|murder|stab|shoot|strangle|poison|hurt|harm|smother|suffocate|drown"
        rf"|attack)(?:b?ing|t?ing|p?ing)?"
        rf" {_PERSON}",
        r"want|going to|will|plan|planning|imagin\w+|thoughts?|fantas\w+|urges?|dream\w*|voices?"
        r"|scared i|scared that i"
        r"|afraid i|afraid that i|might|images|visions|before i|can not stop|could not stop|need"
        r" to|ready to|intend",
        none=r"feelings?|not (?:\w+ ){0,4}(?:hurt|kill|harm|attack|shoot)(?:ing)? \w+|never (?:\w+"
        r" ){0,3}(?:hurt|kill|harm)"
        r"|no (?:\w+ ){0,3}(?:hurt|harm|kill)|anyone|could kill|will kill me|he|she|they|kill me"
        r"|if it|it will|it might"
        r"|that will|which|wanted|if they|so funny|with kindness|for (?:a|eating|that|this)"
        r"|(?:shoot|shooting) (?:him"
        r"|her|them) (?:a|an)|you|softly|chances?|without hurting|to hurt (?:my|his|her|their)"
        r" (?!\w*er\b)",
    ),
    _cues(
        "abuse",
        rf"{_HE}(?: (?!me\b)\w+){{0,6}} (?:hits|beats|beets|slaps|punches|kicks|chokes|strangles"
        rf"|rapes|rapped|molests"
        r"|gropes|abuses|slapped|punched|choked|strangled|raped|molested|groped|abused|hitting"
        r"|beating|beat me up|hurt me"
        r" physically|hit)(?: up)? me",
        none=r"not (?:hit|beat|slap|hurt)|never (?:hit|hits|beat|hurt|slap|punch|kick)(?:s|ed)?(?!"
        r" me again)|out|off|almost|nearly|rain|wave"
        r"|hit me (?:up|that|hard|like|with|on the (?:leg|arm|shoulder|foot))|beat me (?:to|at|in"
        r"|by)|beats me (?:to|at|in|by)|hitting on|back|boxing"
        r"|advice|idea",
    ),
    _cues(
        "abuse",
        r"i (?:\w+ )?(?:am|was|get|got|have been|keep|am being|was being|being|been|getting)(?:"
        r" \w+){0,3} (?:beaten|raped"
        r"|molested|sexually \w+|abused|slapped|forced to have sex|forced into sex|touched"
        r" inappropriately)",
        none=r"never|not (?:\w+ )?(?:abused|beaten|raped)|by (?:a|one|two|three) (?:point|minute"
        r"|second|goal)s?|egg\w*|path"
        r"|at (?:my own|it|the (?:game|finish))|team|drug|abused animals|abused (?:kids|children"
        r"|women|dogs?)",
    ),
    _cues(
        "abuse",
        r"me|i",
        r"sex|sexual",
        r"forced|forces|made me|makes me|against my will|consent|did not want|said no|was asleep"
        r"|passed out|unconscious",
        none=r"not have sex|no sex|education",
    ),
)

# "not", then nothing but such words, then the verb. Spoken words come without commas: "I am not
# okay I want to …" denies nothing.
_DENIED: Final = re.compile(
    r"\b(?:not|never|without|no longer|no|none|nor|neither|nobody|hardly)"
    r"(?: (?:really|actually|ever|currently|a|any|the|have|had|has|be|been|being|will|would|could"
    r"|to|of"
    r"|on|about|going|want(?:ed|ing|s)?|need|wish|mean|intend(?:ing|s)?|intentions?|tr(?:y|ied"
    r"|ying)|plan"
    r"|plans|planned|planning|think(?:ing)?|thoughts?|thought|consider(?:ed|ing)?|contemplat(?:e"
    r"|ed|ing)"
    r"|attempt(?:ed|ing)?|feel(?:ing)?|like|urge|desire|deliberately|physically|even|in|am|is|was"
    r"|were"
    r"|once|feelings|in danger|do|i will|or|hurt|hit|kill|anyone|myself|laid a hand|sexually"
    r"|raised))* $"
)
_FIGURE: Final = re.compile(
    r"(?:die|dead|my ?self)"
    r"(?: (?:laughing|trying|(?:in )?training|at the gym|for (?:forgetting|saying|that|missing|not)"
    r"|inside|tired|serious)"
    r"|(?:,? \w+){0,3} (?:of|from|with|in) (?:\w+ )?"
    r"(?:laugh\w*|embarrass\w*|shame|boredom|joy|cringe|hunger|heat|excitement|curiosity|old age"
    r"|thirst))"
    r"\b"
)
_FIRST: Final = re.compile(r"\b(?:i|me|my|my ?self)\b")
_IN_JEST: Final = re.compile(r"\b(?:ha(?:ha)+|lol|lmao|just kidding|jk|silly me|rofl)\b")
_TOLD: Final = re.compile(
    r"\b(?:film|movie|book|novel|story|stories|character|series|episode|scene|song|game|article"
    r"|news"
    r"|documentary|podcast|hero|show|tv|years? ago|last year|(?:19|20)\d\d|character|butler)\b"
)


def find_danger(text: str) -> Danger | None:
    """Say what danger somebody's words speak of, or None.

    Several at once are answered by the first of DANGERS.

    >>> find_danger("I want to kill myself."), find_danger("This exam is killing me.")
    ('self_harm', None)
    """
    plain = spell_out(text)
    found = {rule.danger for rule in _RULES if _speaks(rule, plain)}
    for sentence in re.split(r"[.?!\n;]+|, (?:but|and) ", plain):
        found |= {cues.danger for cues in _CUES if _are_there(cues, sentence)}
    return next((danger for danger in DANGERS if danger in found), None)


def _are_there(cues: _Cues, sentence: str) -> bool:
    return all(cue.search(sentence) for cue in cues.all) and not cues.none.search(sentence)


def _speaks(rule: _Rule, text: str) -> bool:
    return any(_is_meant(rule, text, match) for match in rule.pattern.finditer(text))


def _is_meant(rule: _Rule, text: str, match: re.Match[str]) -> bool:
    groups = match.groupdict()
    verb = next((name for name, found in groups.items() if found), None)
    if rule.deniable and verb and _DENIED.search(text[: match.start(verb)]):
        return False
    around = text[max(0, match.start() - 60) : match.end() + 60]
    if rule.danger == "self_harm" and _is_of_another(text[: match.start()], match[0]):
        return False
    if rule.told and _TOLD.search(around):
        return False
    return not _FIGURE.search(text[match.start() : match.end() + 30]) and not _IN_JEST.search(
        around
    )


def _is_of_another(before: str, said: str) -> bool:
    """Whether somebody else is the subject of the words: no "I" or "me" stands after them."""
    if _FIRST.search(said) and not re.search(r"suicid|self ?harm|worth living", said):
        return False
    sentence = re.split(r"[.?!]", before)[-1] + said
    subject = max((m.end() for m in re.finditer(rf"\b{_THEY}", sentence)), default=-1)
    return subject >= 0 and not _FIRST.search(sentence[subject:])
