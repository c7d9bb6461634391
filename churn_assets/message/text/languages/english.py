"""English."""

from __future__ import annotations

from churn_assets.message.text.languages.pack import Language, grammar

_GRAMMAR = grammar(
    """
[spelled out]
we'd = we would
you'd = you would
we'll = we will
you'll = you will
we're = we are
you're = you are
it's = it is
that's = that is
here's = here is
there's = there is
we've = we have
you've = you have
let's = let us
don't = do not
i'd = i would
i'll = i will
i'm = i am
it'll = it will
what's = what is
they're = they are

[parts]
NICE = (good|great|amazing|wonderful|fantastic|valued|lovely|kind|dear|important|special|excellent|super|
  awesome|brilliant|nice|treasured|trusted|fine|welcome|friendly|personal|warm|happy|sincere|big|small|
  little|short|quick|continued|ongoing|regular)
VERY = (very|so|really|truly|most|always|especially|quite|all|also|just|still|simply|certainly|sincerely|
  greatly|deeply|highly)
GLADLY = (gladly|happily|now|also|already|then|therefore|simply|just)
OBJECT = (your|the|our|this)? (monthly|current|usual|regular)? (SERVICE GENERIC|SERVICE|GENERIC)|the (price|
  cost) of your SERVICE|(your|the) (bill|price|costs) for (your)? (SERVICE|GENERIC)|what you pay for your
  SERVICE
EVERY = each month|every month|a month|per month|/ month|monthly|each and every month
SOON = (today|right away|straight away|at once|for you|from today|now)
START = (starting|beginning|from) (now|today|right away|straight away)
SPAN = (for|over|during) (the|the (next|coming|full|whole|upcoming)|a full|a period of|a total of|all of the
  next|the next full)? D (START)?|(for)? a D period|START for (the next)? D
ON = (off|on|of) OBJECT|(to|on) your account
REST = ((,)? (SPAN|ON|EVERY|for you))*
FINE = (special|small|little|personal|exclusive|nice|great|full|whole|monthly|loyalty)
CUT = (discount|reduction|saving|price cut|price reduction)
WORTH = (a|an|the|your|our|this)? (FINE)? W (EVERY)? (CUT|off OBJECT|off|savings)|(a|the|your|our|this)?
  (FINE)? CUT of (a)? W
WE = (we|our team|our whole team|the care team|our care team|our customer team|someone of our team|one of
  our team|i|our company|the team|all of us)
WANT = (wanted|would like|would love|would be glad|would be happy|want|wish|are happy|are glad|are pleased|
  are delighted|are excited|are proud|are able|are ready|is happy|is glad|is pleased|would be pleased|hope|
  wants|love)
IT = (it|this|that|the offer|this offer|your offer|the discount|this discount|your discount|the gift|your
  gift)
YES = yes
STOP = stop
REPLY = (please|just|simply|kindly|do)? (reply|answer|respond|text|send|write|say|text back|write back|reply
  to us|send us|text us|write us|reply to this message|answer this message|give us|tell us) (with)? (a|the
  word)? (short|quick|simple)? YES (now)?
DO = (be|get) in touch|call you (back)?|get back to you
TALK = (we|our team) (will|can) (GLADLY)? DO (SOON)?
LIKING = should you (wish|want|like|decide) to (accept|use it|take it)|if you (wish|decide) to (accept|take
  it|use it)|(if|when|whenever) (you like it|you would like it|you want it|you are interested|you are happy
  with it|you accept|you agree|it suits you|this suits you|it works for you|that works for you|this sounds
  good|that sounds good|it sounds good|you would like this|you like|this works for you|you would like to
  accept|you would like to use it)
QUESTIONS = (if|when|whenever|should) (you have|there are) (any|more|some|further)? (questions|doubts)|(if|
  when|should) you have a question|(if|when|whenever) (anything|something) is unclear|(if|when|whenever|
  should) you need (any|some)? (help|support|anything)
ANYTIME = (any time|anytime|at any time|whenever you like|at your convenience|when it suits you|any day|
  whenever you want|at any moment|whenever you have time)
CONTACT = (please|just|simply|feel free to|you can|you can always|you may|do not hesitate to|please feel
  free to|please do not hesitate to|you are welcome to)? (call|contact|write to|reach|message|text|ask|
  email|ring|write|reach out to|get in touch with|talk to|reply to|speak to|come back to) us (back)?
ASPECT = (how|if|whether) (OBJECT|everything|things|all|it|that) (is|are|has been|have been) (working|going|
  doing|running) (well|fine|as it should|out|as you need|as you like)? (for you)? (at the moment|lately|so
  far)?|how you (get on|are getting on|feel|are doing|are) (with|about)? (OBJECT)?|how you (like|find|use|
  enjoy) OBJECT|what you (think|need|like|want|expect|would like|enjoy|miss) ((of|from|about) (OBJECT|us))?|
  how we can (help|help you|do better|improve|improve it|make it better) (with OBJECT)? (for you)?|if we can
  help (you)? (with anything)?
THING = (trust|business|custom|support|time|patience|confidence|feedback|thoughts|opinion|ideas|experience|
  needs|day|week|message|team|community|family|home|connection|interest|kindness|SERVICE|company)
BEING = being (VERY)? NICE|being (with us|our customer|a customer|here|part of the family|part of our
  family|one of our customers|one of us|a part of it)|being (a|our|such a)? (valued|great|good|wonderful|
  dear) customer (of ours)?|your (trust|custom|business|confidence|time|attention to this note|support|
  patience) (in (us|our service|our company|our team))?|choosing (us|our company|our service|our team|your
  SERVICE|SERVICE|the SERVICE)|(using|enjoying|having) (your|the|our)? SERVICE (with us|from us)?|letting us
  look after you|trusting us (with your SERVICE)?|having us|reading (this)?|giving
  us your trust|placing your trust in us|choosing us for your SERVICE|(being)? (a)? part of our (community|
  story|team|family)|your (continued|kind)? (business|trust|support|custom)|everything
YEARS = (all|all of)? (the|these|your|those|so many|many) (many|good|long)? years (with us|together|of
  trust)?|your loyalty (over the years|to us|all these years)?|(staying|being) (with us|our customer|a
  customer)? (so|this|for so|for this|all this) (long|time)|being (a|our|such a) (loyal|long standing|
  longtime|faithful|long - standing) customer|staying (with us|loyal|our customer|true to us)
THANKS = (thank you|thanks|many thanks|our thanks|a big thank you|thank you all|thanks a lot|thank you very
  much|thank you so much|thank you again|thanks again|a warm thank you|our sincere thanks|sincere thanks|
  warm thanks)
TOKEN = (a|our|one)? (small|little|big|special|personal|warm|sincere)? (thank you|thank - you|thanks|treat|
  extra|something (special)?|token of (our)? (thanks|appreciation|gratitude)|sign of (our)? (thanks|
  appreciation|gratitude)|gesture (of (thanks|appreciation|gratitude|goodwill))?|gift)
INTRO = (as TOKEN (from us|from all of us|from our team|for you)?|(with|in) (our)? (thanks|appreciation|
  gratitude)|(to|and to) (say (a big)? thank you|say thanks|say thank - you|thank you|give something back|
  show (you)? (our|how much we) (appreciation|thanks|gratitude|appreciate you|value you)|express our
  (thanks|gratitude|appreciation))) (for BEING)?|to (make your SERVICE better value|give you more value|make
  OBJECT (lighter|better|easier))|(because|since) you (are important to us|matter to us|mean a lot to us|are
  (one of our|our) (customers|customer))|(because|since) we (value|appreciate|like) (you|having you|your
  custom|your trust)|(here is|we have|we have got|we bring)? (good|great|some good|some great|happy) news
  (for you|from us)?|START|(today|now|that is why|this is why|so|just for you|for you|especially for you|
  only for you)|SPAN|EVERY (SPAN)?|for your SERVICE|as (a|our) (valued|dear) customer|WE (WANT to|are
  (reaching out|writing|getting in touch) to) (tell you|inform you|let you know|share|say|announce) (that)?|
  (we|i) (are|am) (reaching out|writing|getting in touch) to|(we (have|have got|prepared)|here is|there is)
  (a|an|our|one)? FINE (offer|deal|gift|thank you|discount|surprise|something) (for you|for our valued
  customers)? :|we want to give something back|it is (our pleasure|a pleasure) to|as (our|a) (small|little)?
  way (of saying|to say) (thank you|thanks) (for BEING)?|(a)? (small|little|big|NICE)? (thank you|thanks|
  gift|treat|note) (from us|for you|from all of us|from our team) :|your (discount|offer|gift|thank you|
  reward) is (ready|here|waiting|waiting for you) :|(we (think|believe|know) (that)? you are (a|an|our|one
  of our)? (NICE)* (customer|customers) (,)? so)|(we care about you|that is why|this is why) (,|:)?|please
  (find|see) (our|your) (offer|discount|gift) (below|here) :|so|on your bill|as one of our (NICE)*
  customers|(we (have|have got|have prepared|prepared)|here is|there is) (something|something special|a
  thank - you|a (NICE)* (thank you|something|treat)) (for you)? :|your SERVICE (just)? (got|gets|has become)
  (even)? better :|ready for (some)? good news
TAIL = INTRO|(just|especially|only)? for you|with our (thanks|compliments|best wishes)|on us|waiting for
  you|(added|applied) to your account|on your account|to enjoy|as our (valued)? customer|from us|from all of
  us|on (your|the) (monthly)? (bill|invoice)
SET = (apply|set up|activate|start|arrange|handle|sort out|add|send|book|switch on|organise|organize|take
  care of) (it|this|that|everything|the rest|the discount|your discount|your offer|the offer) (to your
  account|on your account)?|(set|sort) (it|this|that|everything) (up|out)|do the rest|get (it|you|things)
  started|switch it on|get it ready
GET = (get|have|receive|enjoy|take|use|accept|claim)
YOU = (and|so)? you (can|will|are able to|are going to)? (GLADLY)? (GET|pick up|be given)|(and|so)? you are
  (now)? (getting|receiving|given|offered|being offered|being given|eligible for|entitled to)
GIVE = (offer|give|send|bring|grant|present) (you|to you)?|apply|provide|set aside|add|pass on|share
GIVING = (offering|giving|sending|bringing|granting) (you)?|applying|providing|adding
GAVE = (set aside|reserved|prepared|arranged|put together|put aside|saved|kept|added|applied|chosen|picked|
  selected|set up|approved|lined up|got|secured|organised|organized)

[offers]
SAVES = (save (a)? W|enjoy savings of W|pay (a)? W less (for OBJECT)?) REST
CUTS = (take (a)? W off (OBJECT)?|(reduce|lower|cut) OBJECT by (a)? W) REST|make OBJECT W (cheaper|lower)
  REST
CUTTING = (taking (a)? W off (OBJECT)?|(reducing|lowering|cutting) OBJECT by (a)? W) REST
FALLS = (OBJECT (now)? ((is|will be|gets|becomes|is getting|is becoming|got|just got) (now)? (a)? W (lower|
  cheaper)|(costs|will cost) (you)? (a)? W less)) REST
OFFER = (WORTH|D of W off (OBJECT)?|F (for you)? ((of|on|for) OBJECT)?|D (of OBJECT)? (completely|entirely)?
  free|G ((for|with|to go with) OBJECT)?) REST
RUNS = (runs|lasts|is yours|will run|will last|applies|stays|is there|will apply|goes on|continues) (SPAN|D)

[greeting]
(hi|hello|hey|dear|good morning|good day|good afternoon|good evening|greetings|hi there|hello there|hey
  there) (,)? (NAME|there|valued customer|dear customer|customer)?
NAME

[social]
we (are|feel) (VERY)? (lucky|happy|glad|proud|grateful) to (have|know|serve|look after|work with|work for)
  (you|(NICE)* customers like you)
ready for (some)? (good|great) news
(we have|we have got|we prepared|we have prepared) something (NICE)? for you
(we|i|our team|all of us) (do|will)? (VERY)? (appreciate|value|like|love|enjoy|cherish|respect|care about|
  think of|welcome|thank you for|are thankful for|are grateful for|are proud of|are happy about|are glad
  about) (you|(your|the|our) (NICE)* THING|having you (here|with us|around)|being your (team|company)|
  working (for|with) you|helping you)
(we|i) (think|believe|feel|know) (that)? you are (VERY)? ((a|an|our|one of our) (NICE)* (customer|customers|
  part of our (family|community))|NICE|important to us)
you are (VERY)? ((a|an|one of our|our) (NICE)* (customer|customers|part of our (family|community|team))|
  important to us|NICE|welcome here)
we hope (that)? (OBJECT|everything|all) (is|are|has been) (working|going|running|doing) (VERY)? (well|fine|
  nicely|smoothly|great) (for you)?
THANKS (from (all of us|us|our team))? for (being (a|an|our|such a|such an)? (NICE)* (customer|part of our
  (family|community|team)) (of ours)?|(your|all your|the) (NICE)* THING|(using|enjoying|having|keeping|
  choosing) (our|your|the) (NICE)* (SERVICE|service|team|company)|everything (you do)?|BEING)
(just)? (a|an|this is a|here is a)? (NICE)* (note|message|word|hello|thank you) (from (us|our team|all of
  us)|to say (thank you|thanks|hello)|of (thanks|gratitude|appreciation))? (for BEING)?
we (remain|are|stay) at your (disposal|service) (for any (questions|question))? (ANYTIME)?
(we|our team) (look|looks) after you (and OBJECT)?
we appreciate (that)? you (chose us|are here|are with us|trust us|use OBJECT)
(we|i) (wish|wished) you a (NICE)* (day|week|evening|weekend|month)
(it is|it has been) (VERY)? (NICE|a pleasure|a joy) to (have you (with us|here)|work for you|look after you|
  serve you|help you)
(we|i) (are|am) (reaching out|writing|getting in touch) to (say (a big)? (thank you|thanks)|thank you) (for
  BEING)?
(we)? hope (that)? (you (like|enjoy|love) (it|this)|(it|this) is (useful|helpful) (for you|to you)?|all is
  well (with you|with OBJECT)?)
you (deserve (it|this|a treat|a thank you|something special)|are important to us|matter to us|mean a lot to
  us|make us better)
(we (like|love|enjoy) (having you (with us|here|as our customer)|to have you with us)|how are you (doing)?
  (today)?)
we want to give something back
we value you as (a|our) customer
(we|i) (would like|want|wish) to (say|express) our (thanks|gratitude|appreciation)
THANKS (from (all of us|us|our team))? (for BEING)?
(we|i|our team) (want|would like|wanted|wish) to (say (a big)? thank you|thank you|say thanks) (for BEING)?
we (really|truly|do|very much|greatly|all|always|sincerely)? (appreciate|value) (you|it|having you|having
  you as a customer|having you with us|that you are with us|that you are our customer|your (trust|custom|
  business|confidence) (in (us|our service|our team))?)
it (means|meant) (a lot|so much|much|a great deal) (to us)? that you are (with us|our customer|here)
(it is|we find it)? (good|great|nice|wonderful|a pleasure|lovely) to have you (here|with us|as our customer|
  as a customer|on board)
we are (really|very|so|truly)? (glad|happy|pleased|grateful|proud|lucky|delighted|thankful) (that)? (you are
  our customer|to have you|to have you as a customer|to have you as our customer|to have you with us|you are
  with us|you are here|you chose us|for BEING|to look after you|to be there for you)
please accept our thanks for BEING
your (custom|trust|business|confidence) (is something we (truly|really)? appreciate|means a lot (to us)?|
  matters to us)
(a)? (quick|short|little)? note of thanks
(we have)? (good|great|some good|some great) news (for you)? (and a thank you)? (today)?
(we hope|i hope) (you are (well|doing well|having a good (day|week))|all is well|this (note|message) finds
  you well|you enjoy OBJECT|you are enjoying OBJECT|you have a (good|nice|great) (day|week))
(have|enjoy) a (good|nice|great|lovely|wonderful|pleasant) (day|week|evening|weekend|one)
we (know|understand) (that)? (a fair price matters (to you)?|costs add up|bills add up|value matters (to
  you)?|good value matters (to you)?|how much you count on OBJECT|you count on OBJECT)
we are sorry (if OBJECT has felt high|if we have not been in touch for a while|for that)?
we want your SERVICE to be worth every bill
we would like your SERVICE to cost you less
we have been thinking about how to give you more value
we (are here|are there|are always here|are always there) (for you)? (and your SERVICE)?
(we|our team) (are|is|will be) (always)? (here|happy|glad|ready|there|on hand) (to help|for you|to help you|
  to assist|to talk|to answer (them|your questions))
WE WANT to (hear|know|learn|understand|find out|ask|see) ASPECT
WE WANT to hear (from you|your thoughts|your opinion) (about OBJECT|on OBJECT)?
(WE WANT to|let us) (talk|speak|chat|have a talk|have a chat) (to you|with you)? (about (OBJECT|what you
  need from OBJECT|how OBJECT is working))?
WE WANT to (go through|look at|talk through|check) OBJECT with you
(is your SERVICE|is everything|are things) working (as it should|well|fine|as you like) (for you)?
how (is (your SERVICE|everything)|are things) (working|going|doing|working out) (for you)?
can we (help (you)? (with (anything|OBJECT))?|do anything for you)
our network covers many cities and we keep growing every year
we also have many other products that you can buy in our stores
you can read about our history on the company page
our stores are open every day and our staff can show you new devices
(any|got any|have|do you have any|more)? questions

[loyalty]
THANKS (from (all of us|us|our team))? for YEARS
we (really|truly|very much|greatly|do)? (appreciate|value) YEARS
we go back a long way
(we are|i am) (grateful|glad|happy|thankful|pleased) for YEARS
after YEARS
you have been (with us|our customer) (for)? (so long|many years|for years|a long time)
(as|to say thank you for|to thank you for|as TOKEN for) YEARS

[before an offer]
INTRO

[behind an offer]
TAIL

[offer]
(please|you can|you will|you may|now)? (enjoy|have|use|get) OBJECT (with|at) OFFER
you have been (selected|chosen|picked) for OFFER
you (will)? (find|see) OFFER
(WE)? WANT to (reward you with|thank you with|treat you to|surprise you with|say thanks with) OFFER
WE (are|is|am) (GLADLY)? (rewarding you with|thanking you with|treating you to) OFFER
OBJECT (is|will be|comes) (now)? (at)? OFFER
so here is OFFER
(we|we will|we would) (love|like) (for)? you to (have|get|enjoy|use) OFFER
please find OFFER
(we are|i am|our team is) (now)? (GLADLY)? CUTTING
(you have|you have got|you got) OFFER
(WE)? (would like|want|wish|would love) to GIVE OFFER
(are|am) (GLADLY)? GIVING OFFER
WE WANT to (say (a big)? (thank you|thanks)|thank you|show our (thanks|appreciation)) (for BEING)? with
  OFFER
GIVE OFFER
(your|the)? next D (of (your)? SERVICE)? (are|is|will be|come|comes) (at|with)? OFFER
THANKS (for BEING)? with OFFER
(please|why not)? (enjoy|take|get|accept|have|receive|claim|use) OFFER
(here is|here comes|there is|this is) OFFER
(please|now|you can|you will|you|you now|so you|you could|you can now|you will now|we would like you to|we
  help you)? SAVES
(we|we will|we are going to|we can|we now|we can now|(we|our team) WANT to|you|you can|let us|please)? CUTS
FALLS
(please)? enjoy OBJECT with OFFER
your SERVICE (now|will)? (comes|come) (now)? with OFFER
(to go with your SERVICE (,)?)? YOU OFFER
WE (WANT to|can|will|would|can now|will now)? (GLADLY)? GIVE OFFER
WE (are|is|am) (now)? (GLADLY)? GIVING OFFER
(our team|our company|the team) (gives|offers|sends) (you)? OFFER
WE (have|has) (now|just|already)? GAVE (you|for you)? OFFER
WE (have|has) OFFER
(let us|allow us to) GIVE OFFER
your (offer|discount|thank you|gift|deal|reward) (today|from us)? (is|:|will be) OFFER
your account (shows|has|holds|now has|now shows) OFFER
OFFER ((,)? (is|are) (yours|for you|ready for you|waiting for you|ready|on us|our thank you|our way of
  saying (thank you|thanks)|our gift))?
here is TOKEN (for your SERVICE|for you)? : OFFER
(this|that|it) (means|gives you|is) OFFER
(it|this|that|the discount|your discount|the offer|this offer|your offer|this discount) RUNS
REPLY (to|and you (will|can)?|and) (get|enjoy|receive|accept|claim|have|take|use) OFFER
REPLY (to|and you|and you will|and) SAVES
(it is|they are) yours

[call]
REPLY (and TALK)?
all you (need|have) to do is REPLY
(a|one|your) (short|quick|simple|single)? YES (from you)? is all (we need|it takes|you need|that is needed)
(please|just|simply|do)? (let us know|tell us) (QUESTIONS|ASPECT|a good time to talk|when (you have time|we
  can call|we can call you|it suits you)|your thoughts|your answer|what suits you|if you would like it)?
  (and TALK)?
(QUESTIONS (,)?)? CONTACT (ANYTIME)? (QUESTIONS|with (any|your) questions)? (ANYTIME)?
QUESTIONS (,)? (we are|our team is) (always)? (here|happy to help|glad to help|there for you|here for you|
  here to help)
(please|just)? (write|text|call) back (if it suits you|QUESTIONS|ANYTIME)?
(please|just|feel free to|you can)? (reply|answer|respond|write) (to this message|to us|back|ANYTIME)?
feel free to (ask|ask anyone else|call|write|reply|tell us ASPECT)
just ask
(we (look|are looking)|our team looks) forward to (hearing from you|your reply|your answer|talking to you|
  talking with you)

[accept]
would you like to (SAVES|(get|have|enjoy|receive|take) OFFER)
to get (started|it|this|going) (,)? REPLY
if (so|yes) (,)? REPLY
REPLY LIKING
(would you like|how about|would you enjoy|may we offer you|can we offer you|could we offer you|what about)
  OFFER
(are you)? interested
(is that|does that sound|sounds|sound|does this sound) (ok|okay|good|fine|all right) (to you|for you)?
(to (accept|confirm|claim|take|get|use|activate|start|enjoy|have) (IT)? (,)?)? REPLY (to (accept|confirm|
  claim|take|get|use|activate|start|enjoy|agree|say yes to|set up|go ahead with|have) (IT)?)? (LIKING)?
  (ANYTIME)?
(if you would like to (accept|use it|go ahead) (,)?)? REPLY to accept
REPLY (to accept (IT)?)? (and|,) ((we|our team) (will|can) (GLADLY)? SET (SOON)? (SOON)?|it is yours|we are
  set|we do the rest)
(we|our team) (will|can) (GLADLY)? SET (SOON)? (SOON)? ((as soon as|once|when) you (reply|say|text|answer)
  YES)?
LIKING (,)? (REPLY|(please|just)? (let us know|write back|tell us|reply|say so))
(please|just|simply|do)? (let us know|tell us|say) (LIKING|if you would like it|if it suits you)
(please|just)? (reply|answer|respond) (to this message)? to accept (IT)?
REPLY to accept (IT)? (,)? or STOP to opt out

[sign_off]
(THANKS|with (our)? thanks|with (kind|warm|best|friendly) (regards|wishes)|kind regards|best regards|warm
  regards|regards|best|best wishes|all the best|yours|yours sincerely|yours truly|sincerely|warmly|talk
  soon|see you soon|cheers|take care|warmest regards|many greetings)? (,|-)? (the|your|from the|from your|
  from|our)? ((customer|care|support|service|success|retention|client)? (care|support|service|services|
  success)? (team|department|desk)|friends in support|support|friends)
(with (kind|warm|best) (regards|wishes)|kind regards|best regards|warm regards|regards|best wishes|all the
  best|yours|yours sincerely|sincerely|talk soon|see you soon|cheers|take care)

[opt_out]
STOP (to|if you want to|if you would like to) (opt out|unsubscribe)
(please|just|simply|you can|you can always|you may)? (reply|text|send|answer|write|respond|reply with|
  respond with|text us) (us|the word)? (STOP) (ANYTIME)? to (opt out|unsubscribe|stop (these|our)? messages|
  be left alone) (ANYTIME|of (these|our|further) messages|from (these|our|further) messages)?
to (opt out|unsubscribe) (of|from)? (these|our|further)? (messages|this list)? (,)? (please|just|simply)?
  (reply|text|send|answer|write|respond with|reply with) (STOP)
(you|and you) can (opt out|unsubscribe) (ANYTIME)? (with|by replying|by texting|by sending) (STOP)
(opt out|unsubscribe) (ANYTIME)? (with|by replying|by texting|by sending) (STOP)
if you (do not want|would rather not get|prefer not to get|no longer want) (these|any more|more|our|further)
  messages (,)? (reply|text|send) (STOP) to (opt out|unsubscribe)

[faults]
opt_out = opt out|opting out|unsubscribe|stop
records = record|records|our (data|system|files)|may leave|might leave|want to leave|thinking of leaving|
  leaving us|we (saw|noticed|know) (that)? you
pressure = lose|lost|hurry|last|act|urgent|immediately|must|miss|expire|expires|deadline|final|warning|
  attention|only today|limited|wait|cut off|or else|otherwise|should have|complaint|everyone|everybody|now
  or|while
condition = if|unless|when|once|provided|terms|condition|conditions|contract|stay|staying|sign|commit|renew|
  require|requires|required|minimum|subject|only|exchange|return|depending|months with|with us for
other_time = after|within|starting|start|starts|end|ends|ended|until|then|later|before|since|next|first|
  from|yearly|once|ago|already|already used|was|were
wrong_service = accessories|phone|phones|installation|device|devices|selected|film|films|movies|shop|store|
  purchase|order
other_price = pay|price|cost|costs|fee|fees|bill|charge|more|increase|nothing|rise|rises|cash|of
other_offer = free|on us|gift|bonus|plus|win|prize|also get|extra|off|discount|offer|save|promise|will|every
"""
)

ENGLISH = Language(
    grammar=_GRAMMAR,
    plain={},
    offers={
        "percent_off": "{worth} off your {service} for {duration}",
        "amount_off": "{worth} off your {service} each month for {duration}",
        "free_months": "{worth} of your {service}",
        "gift": "{worth}",
    },
    month="1 month",
    months="{months} months",
    defaults={},
)
