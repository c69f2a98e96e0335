//! The words of codes: 1,024 that are said and heard apart. No two differ by one letter alone. The list is part of the format of
//! codes, so it never changes.

/// See the module; in alphabetical order.
pub(super) const WORDS: &str = "\
abacus abbey acorn acre acrobat actor adder adobe agate album alcove algae alley almond alpaca altar amber anchor \
angel angle anthem antler anvil apple apricot apron arbor arcade archer arena aroma arrow artist aster atlas atom \
attic autumn avocado award axle azure badge bagel bagpipe bakery balcony ballad balloon balsam bamboo banana bandage \
banjo banner baobab barber bargain barley barn barrel basil basket bassoon bathtub baton battery bayou bazaar beach \
beacon beaker bedrock beetle bellows beret berry bicycle birch biscuit bishop bison blanket blaster blazer blender \
blossom blouse boiler bonfire bonnet border bottle boulder bouquet bowtie bramble branch brass bread breeze brewery \
bricks bridge brisket bronze brook brother brush bubble bucket buckle buffalo bugle bumper bundle bunker burger \
burrow bushel butcher butler button buzzard cabbage cabin cabinet cable cactus cadet cafe camel camera campus canal \
candle candy cannon canoe canopy canvas caper capsule captain caramel caravan carbon cargo caribou carpet carrot \
cascade cashew castle catfish caution cavern cedar celery cello cement census ceramic cereal chain chalet chalk \
channel chapel chariot charm cheddar cheese cheetah cherry chess chicken chimney chisel chives choir chorus cider \
cinema circle circus citrus clam clerk cliff climber clinic cloak clover clown cobalt cobbler cobra cobweb cocoa \
cocoon coffee collar colony comma compass concert condor copper coral cork corner cosmos cottage cotton cougar \
council country coupon courier cousin cowboy coyote cracker cradle crane crater crayon cream creek cricket crocus \
croquet crossbow crow cruise crumb crystal cupcake curler curtain cushion custard cutlery cyclone cymbal cypress \
dahlia dairy dancer dart dawn delta denim deputy desert desk diamond diary diesel digit dinghy dinner diploma disco \
dish ditch diver doctor dogwood dolphin domino donkey dough dove dragon drapery drawer dresser drizzle drum duchess \
dugout dune dungeon dynamo eagle earring earth easel echo eclair eclipse elbow elder elixir emblem emerald emperor \
empire enamel engine epoch equator ermine errand escort essay estuary evening exhibit fabric factory falcon family \
farmer faucet feather fence fender fennel ferret fiddle field fiesta filter finch finger firefly fireman fisher \
flame flannel flask fleet flint floral flour flower flute foam folder forest forge fossil freckle freezer freight \
friend frigate fringe frost fruit fudge furnace gadget galaxy gallery gallon garden garlic garment garnet gazelle \
gazette gecko gelatin genie geyser giant gibbon giraffe glacier glade glider globe glue gnome goblet goblin goggles \
golf gondola goose gopher gorilla gospel gown grain granite grape gravel gravy griddle grizzly grocer grotto grove \
guest guitar gully hairpin halibut hallway hamlet hammer hammock hamster hangar harness harp harvest hatchet hawk \
hazel hedge helmet hemlock herald herb hermit heron herring hickory highway hill hinge hippo hobby hockey holly \
honey hood horizon hornet horse hostel hubcap humus husky hydrant hyena ibex iceberg icicle icon igloo iguana impala \
incense index indigo infant inkwell insect invoice iris island ivory jackal jacket jade jaguar janitor jasmine \
javelin jeans jelly jersey jester jetty jewel jigsaw joker journal jubilee juggler juice jumbo jungle juniper juror \
jury karate kayak kazoo keel kelp kernel kettle kimono kingdom kiosk kitchen kitten kiwi knee knight knuckle koala \
kudu label lace ladle lagoon lamb larch lark laser lasso lathe lattice laundry laurel lava leaflet lectern legend \
lemon lemur lentil leopard letter lettuce lever library lichen lighter lilac lily limpet linen linnet lion lizard \
llama loaf lobster locket locust lodge logbook loom lotus lounge lumber lupine lynx lyric machine magenta magnet \
magpie mailbox mallard mallet mammoth manatee mango manor mansion mantle maple marble margin marina market marmot \
marsh marten mascot mask mason matador match meadow medal medley melody melon memoir menu mercury mermaid meteor \
mica milk mimosa minnow mint minute mirror moat model mole monitor monsoon moon morning mosaic mosque moth motor \
mouse muffin muscle museum musket mussel mustang myrtle napkin narwhal nation nature nectar needle nephew neptune \
nest nickel nimbus ninja noodle north nostril novel nozzle nugget nursery nutmeg oasis oatmeal oboe ocean octagon \
octave octopus office okra olive olympic omelet onyx opal opera orange orbit orca orchard orchid origami oriole \
ostrich otter outlaw outpost oven oxygen oyster package paddle pagoda painter palace palette palm pancake panda \
panther papaya paprika parade parcel parka parlor parsley parsnip pasta pastry patio patrol peacock peanut pebble \
pecan pelican pencil pendant penguin pension peony pepper perch perfume petal phoenix phone piano piccolo pickle \
picnic pigeon pilgrim pillow pilot pimento pine pirate pitcher pixie pizza planet plank plateau plaza plum poem \
polar polka pollen pond pontoon popcorn poppy possum potato pottery powder prairie prawn pretzel prince prism prune \
pulley pumpkin puppet purple puzzle pyramid python quail quarry quartz queen quiche quill quince quiver quokka quota \
rabbit raccoon radar radio radish raft railway rainbow raisin rally ramp ranger raptor raven ravine razor recipe \
record reef referee relic rhubarb rice ripple robin robot rodeo romance rooster rope rosebud rubber ruby rudder \
ruffle ruler runway rustic safari saffron sage sailor salad salmon salsa sandal sardine satchel satin sauce sauna \
sausage savanna sawmill scallop scarf school science scooter scout scroll seafood seagull season seaweed secret \
seesaw sentry sequoia shadow shallot shark shawl shelf sheriff shield ship shoe shovel shrimp shutter signal silo \
silver siren sister sketch skillet skunk skyline slate sledge sleeve slipper sloth smelter smoke snail snorkel snow \
soap soccer sofa soldier south soybean spaniel sparrow spatula spider spinach spiral spoon sprout spruce squash \
squid stable stadium stamp stapler statue steam steeple stencil steppe stew stirrup stone stork street string studio \
sugar sultan summer sunbeam sunset swallow swan sweater swift syrup tabloid tadpole taffy talon tanker tapir target \
teacup teapot temple tennis tent termite terrace terrier theater thicket thimble thistle throne thumb thunder thyme \
tiara tiger timber tinsel titan toaster tomato tombola tongue topaz torch tornado toucan towel tractor trader \
traffic trail trapeze tremor tribune trident trinket trolley trophy trout truck trumpet tsunami tuba tugboat tulip \
tundra tunnel turban turkey turnip turtle tutor tuxedo typhoon uncle unicorn uniform urchin utensil vacuum vanilla \
varnish vector veil velvet vendor venison veranda vessel viaduct village vinegar viola violet violin viper visitor \
vista voucher voyage vulture waffle wagon waiter walker walnut walrus warbler wasp wedding western whale wharf wheat \
whisker widget wigwam window wombat wonder woolen wreath wren wrench wrist yacht yard yeast yogurt yolk yucca zebra \
zenith zephyr zigzag zinc zipper zircon zodiac";
