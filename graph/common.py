"""Everyday English words that name nothing by themselves, for finding names in text without capitals.

Chosen by hand. At COMMON words (verbs of telling, qualities, words of talk) a phrase ends. KINDS (film, city, north)
are parts of many names, but no name alone.
"""

from __future__ import annotations

_COMMON = """
able accept accepted access according account across acted acting action actions active activity actors actual
actually add added adding addition additional adopted adult affected age aged ages agree agreed ahead aid aim aimed
alive allow allowed allows almost alone along already alternative always among amount ancient announced annual
another answer answered anyone anything appear appearance appeared appearing appears applied apply appointed
approach approximately area areas arm around arrived article artists ask asked asking assigned assist associated
attack attempt attempted attempts attend attended authors available average awarded away back based basic basis bear
beat became become becomes becoming began begin beginning begins begun behind believe believed better beyond bigger
biggest birth bit block blocked body books born bottom bought box boys branch break bring broke broken brothers
brought build buildings built buy call called calling came campaign cannot capital captured care career carried
carry case cases cast cause caused causes century certain change changed changes changing chapter character
characters check checked chief choice choose chosen claim claimed class classic clear clearly close closed closer
coast collected collection combined come comedy comes coming command commercial common commonly community companies
compared compete competed competition complete completed completely composed concept concerned condition conditions
conducted connected consider considered consist consisted consisting consists contain contained containing contains
contest continue continued continues continuing contract control controlled converted cost costs countries couple
course cover covered covers create created creates creating creation credit critical critics culture current
currently cut daily dated dates daughters days deal death debut decade decades decide decided decision defeated
defined degree degrees depending depicts described describes description design designed despite destroyed details
develop developed development died difference different difficult direct directed directing direction directly
directors discovered discussed display distance distributed division documentary documents done door double drama
drawn drive driven driver drop dropped due dying earlier earliest early earned easily easy edge edit edited edition
education effect effective effects effort eight eighth either elected election elements eleven else employed end
ended ending ends enough enter entered entire episode episodes equal error especially established estimated etc even
event events eventually everyone everything evidence exactly example examples except exist existing exists expected
experience explain explained extended extra eye face fact factor fail failed fall falls familiar families family
famous far fast favor feature featured features featuring feel feet fell felt female fiction fictional fifth fight
figure figures file files fill filmed filming final finally find finds fine finish finished fit five fix fixed floor
focus focused follow followed following follows forced foreign form formal format formed former formerly forms
forward fought found foundation founded founder four friend friends front full fully function further future gain
gained gave generally generation genre get gets getting girls give given gives giving go goal goals god goes going
gone got gradually granted greater greatest ground groups grow growing grown grows guess guest guide guitarist hair
half hand hands happen happened happens head headed hear heard heart heavy held help helped helping helps here
higher highest highly historical hit hits hold holding holds home homes hope hot hour hours household housing huge
human hundred hundreds husband idea ideas identified identify image immediately impact important improved include
included includes including income increase increased increasing independent individual individuals industrial
influence influenced information initial initially inside instead interest interested introduced introduction
involved involving issue issued issues item items job jobs join joined joint just keep keeps kept key kill killed
kind knew know known knows lack landed language languages large largely larger largest lasted late later latest
latter launch launched lay lead leader leaders leading leads learn learned least leave leaves leaving led left legal
length less let letter letters level levels lies like likely limited line lines list listed listen lists literature
live lived lives living local located location locations longer look looked looking looks lost lot loved low lower
lowest made mail main mainly maintain maintained majority make makes making male manage managed manager many marked
married mass matches material matter mean meaning means meant measure measures media meet meeting member members
mentioned message met method methods middle might mile military million mind minor minute minutes miss missing
mission mixed money month monthly months morning mostly move moved movement moves movies moving much multiple murder
murdered musical musicians must named names narrow nation natural nature near nearby nearly necessary need needed
needs never newly news next nice nine ninth nobody nominated none normal normally note noted nothing notice novels
now numbers numerous object objects obtained obvious occur occurred occurs offer offered offers officers official
officially often oh ok okay older oldest one ones online onto open opened opening opens operate operated operating
operation operations opinion opposed opposite option ordered orders organization organized origin original
originally others otherwise outside overall owned owner owners paid paint painter painting paper parents particular
particularly parts pass passed past path pay per percent perform performance performances performed performing
perhaps period permanent person personal personnel photo phrase physical pick picked picture piece pieces place
placed places planned plans plant play played players playing plays please plot plus poet points political
politician politics poor popular population position positions positive possible possibly post posted powerful
powers practice premiered present presented presents pressure pretty prevent previous previously primarily primary
principal prior private probably problem problems process produce produced producers producing product production
professional professor programs projects prominent promoted proposed protect protected prove proved provide provided
provides providing public publication publicly publish published publisher purchased purpose push put quality
question questions quick quickly quite raised ran range ranked rate rather reach reached reaching read reading ready
real reality really reason reasons receive received receives recent recently recognized record recorded recording
records reduce reduced refer reference referred refers regarded regional regular regularly related relationship
relatively release released releases religious remain remained remaining remains remember remove removed renamed
replace replaced reply reported reports represent represented represents request required requires research resident
residents respectively response rest result resulted resulting results return returned returns reveal revealed
review reviews right rights rise role roles room route row rule ruled rules run running runs said sale sales same
saw say saying says scene scenes score scored scores screen script season seasons seat secondary secret section
sections see seeing seek seem seemed seems seen select selected selection self sell send senior sense sent separate
separated serious serve served serves serving session set sets setting settled seven seventh several sex shape share
shared ships short shortly shot should show showed showing shown shows side sign signed significant significantly
similar simple simply since singers single singles sisters sit site sites situated situation six sixth size sleep
slow slowly small smaller social sold soldier soldiers solo solution somebody someone something sometimes somewhat
songs sons soon sorry sort sought sound source sources speak speaking special specific specifically spent split
spoke spoken spread stage stand standard standards starred starring start started starting starts stated status stay
stayed step still stood stop stopped store stories strong structure student students studied studies studio study
style sub subject success successful successfully suggest suggested summer sung supply support supported supporting
sure surface surrounding systems table take taken takes taking talk target taught teacher teams tell telling tells
ten term terms territory text thank thanks theme thing things think thought thousand thousands thread three
throughout thus till title titled today together told tomorrow ton took top total touch toward towards track tracks
trade traditional train trained training translated travel treated tried trip true try trying turn turned turning
turns twelve twenty twice two type types typical typically unable uncle understand unique unit units unknown unless
unlike upon upper us use used useful user users uses using usual usually value values variety various versions via
victory video view views virtual visit visited voice vol volume vote voted wait waiting walk wall want wanted wants
watch water way ways weak week weekly weeks well went whatever whole whose wide widely wife will win window winner
winning wins winter wish within without won word words work worked worker workers working works worldwide worth
would wow write writers writes writing written wrong wrote yeah year years yes yesterday yet younger youngest youth
zero
"""
_KINDS = """
act actor actress address air album animal army art artist author award awards bad band bank bass battle beautiful
best big black board book boy brother building business captain car cars center central centre child children church
cities city club coach code cold college commander commission committee company composer council country county
court cup customer dance data date daughter day dead deep department director district document drums east eastern
email english father festival field film films fire first food force forces fourth free game games general girl gold
good government governor great green group guitar hall hard health high history house index industry institute
international island islands king land last law league life light little long love magazine major man market match
men minister model modern moon mother movie music musician name national network new newspaper night north northern
novel number office officer old opera order page park part party people phone piano plan player point police policy
power president press prince prize producer program programme project queen race radio red region report river road
rock round royal school schools science sea second series service services ship singer sister society son song south
southern space species sport sports star stars state states station story strange street sun system task team
television test third time times town tree university version village war website west western white woman women
wonder world writer young
"""
COMMON = frozenset(_COMMON.split())
KINDS = frozenset(_KINDS.split())
