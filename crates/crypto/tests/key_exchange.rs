//! Key exchange against published values, and what a peer must not be able to send.

mod common;

use adit_crypto::{KeError, KeGroup, KeSecret, Random as _, SeededRandom};
use common::{Fixed, hex};

/// RFC 5903 §8: group, i, g^i, r, g^r, shared secret. RFC 7748 §6.1 for Curve25519. MODP: computed with Python's `pow`
/// from exponents of the length used here (the last shared secret starts with a zero octet).
#[rustfmt::skip]
const AGREEMENTS: &[(KeGroup, &str, &str, &str, &str)] = &[
    (KeGroup::Ecp256, "c88f01f510d9ac3f70a292daa2316de544e9aab8afe84049c62a9c57862d1433",
     "dad0b65394221cf9b051e1feca5787d098dfe637fc90b9ef945d0c37725811805271a0461cdb8252d61f \
      1c456fa3e59ab1f45b33accf5f58389e0577b8990bb3",
     "d12dfb5289c8d4f81208b70270398c342296970a0bccb74c736fc7554494bf6356fbf3ca366cc23e8157 \
      854c13c58d6aac23f046ada30f8353e74f33039872ab",
     "d6840f6b42f6edafd13116e0e12565202fef8e9ece7dce03812464d04b9442de"),
    (KeGroup::Ecp256, "c6ef9c5d78ae012a011164acb397ce2088685d8f06bf9be0b283ab46476bee53",
     "d12dfb5289c8d4f81208b70270398c342296970a0bccb74c736fc7554494bf6356fbf3ca366cc23e8157 \
      854c13c58d6aac23f046ada30f8353e74f33039872ab",
     "dad0b65394221cf9b051e1feca5787d098dfe637fc90b9ef945d0c37725811805271a0461cdb8252d61f \
      1c456fa3e59ab1f45b33accf5f58389e0577b8990bb3",
     "d6840f6b42f6edafd13116e0e12565202fef8e9ece7dce03812464d04b9442de"),
    (KeGroup::Ecp384, "099f3c7034d4a2c699884d73a375a67f7624ef7c6b3c0f160647b67414dce655e35b538041e649ee3fae \
      f896783ab194",
     "667842d7d180ac2cde6f74f37551f55755c7645c20ef73e31634fe72b4c55ee6de3ac808acb4bdb4c887 \
      32aee95f41aa9482ed1fc0eeb9cafc4984625ccfc23f65032149e0e144ada024181535a0f38eeb9fcff3 \
      c2c947dae69b4c634573a81c",
     "e558dbef53eecde3d3fccfc1aea08a89a987475d12fd950d83cfa41732bc509d0d1ac43a0336def96fda \
      41d0774a3571dcfbec7aacf3196472169e838430367f66eebe3c6e70c416dd5f0c68759dd1fff83fa401 \
      42209dff5eaad96db9e6386c",
     "11187331c279962d93d604243fd592cb9d0a926f422e47187521287e7156c5c4d603135569b9e9d09cf5 \
      d4a270f59746"),
    (KeGroup::Ecp384, "41cb0779b4bdb85d47846725fbec3c9430fab46cc8dc5060855cc9bda0aa2942e0308312916b8ed2960e \
      4bd55a7448fc",
     "e558dbef53eecde3d3fccfc1aea08a89a987475d12fd950d83cfa41732bc509d0d1ac43a0336def96fda \
      41d0774a3571dcfbec7aacf3196472169e838430367f66eebe3c6e70c416dd5f0c68759dd1fff83fa401 \
      42209dff5eaad96db9e6386c",
     "667842d7d180ac2cde6f74f37551f55755c7645c20ef73e31634fe72b4c55ee6de3ac808acb4bdb4c887 \
      32aee95f41aa9482ed1fc0eeb9cafc4984625ccfc23f65032149e0e144ada024181535a0f38eeb9fcff3 \
      c2c947dae69b4c634573a81c",
     "11187331c279962d93d604243fd592cb9d0a926f422e47187521287e7156c5c4d603135569b9e9d09cf5 \
      d4a270f59746"),
    (KeGroup::Ecp521, "0037ade9319a89f4dabdb3ef411aaccca5123c61acab57b5393dce47608172a095aa85a30fe1c2952c67 \
      71d937ba9777f5957b2639bab072462f68c27a57382d4a52",
     "0015417e84dbf28c0ad3c278713349dc7df153c897a1891bd98bab4357c9ecbee1e3bf42e00b8e380aea \
      e57c2d107564941885942af5a7f4601723c4195d176ced3e017cae20b6641d2eeb695786d8c946146239 \
      d099e18e1d5a514c739d7cb4a10ad8a788015ac405d7799dc75e7b7d5b6cf2261a6a7f1507438bf01beb \
      6ca3926f9582",
     "00d0b3975ac4b799f5bea16d5e13e9af971d5e9b984c9f39728b5e5739735a219b97c356436adc6e95bb \
      0352f6be64a6c2912d4ef2d0433ced2b6171640012d9460f015c68226383956e3bd066e797b623c27ce0 \
      eac2f551a10c2c724d9852077b87220b6536c5c408a1d2aebb8e86d678ae49cb57091f4732296579ab44 \
      fcd17f0fc56a",
     "01144c7d79ae6956bc8edb8e7c787c4521cb086fa64407f97894e5e6b2d79b04d1427e73ca4baa240a34 \
      786859810c06b3c715a3a8cc3151f2bee417996d19f3ddea"),
    (KeGroup::Ecp521, "0145ba99a847af43793fdd0e872e7cdfa16be30fdc780f97bccc3f078380201e9c677d600b343757a3bd \
      bf2a3163e4c2f869cca7458aa4a4effc311f5cb151685eb9",
     "00d0b3975ac4b799f5bea16d5e13e9af971d5e9b984c9f39728b5e5739735a219b97c356436adc6e95bb \
      0352f6be64a6c2912d4ef2d0433ced2b6171640012d9460f015c68226383956e3bd066e797b623c27ce0 \
      eac2f551a10c2c724d9852077b87220b6536c5c408a1d2aebb8e86d678ae49cb57091f4732296579ab44 \
      fcd17f0fc56a",
     "0015417e84dbf28c0ad3c278713349dc7df153c897a1891bd98bab4357c9ecbee1e3bf42e00b8e380aea \
      e57c2d107564941885942af5a7f4601723c4195d176ced3e017cae20b6641d2eeb695786d8c946146239 \
      d099e18e1d5a514c739d7cb4a10ad8a788015ac405d7799dc75e7b7d5b6cf2261a6a7f1507438bf01beb \
      6ca3926f9582",
     "01144c7d79ae6956bc8edb8e7c787c4521cb086fa64407f97894e5e6b2d79b04d1427e73ca4baa240a34 \
      786859810c06b3c715a3a8cc3151f2bee417996d19f3ddea"),
    (KeGroup::X25519, "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb",
     "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f",
     "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a",
     "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742"),
    (KeGroup::Modp2048, "9818e811892f902bd23f0824128b2f330c5c7fd0a6a3a4506513270e269e0d37f2a74de452e6b438",
     "b6777528c582bf1e9a9bbd05ed34a53013a056a2e907198d0eabdf9e97ce981789dc208c216296a18983 \
      27bf47218c714f00528d694eb3f5676cdef20bea26c842d1d0d5e43eacbe3101012fc97f647d3f4eb1c2 \
      ba2e5ea685fe2cb8b891d6e2009eb8f24be51062948a3183aa627850fdfb6d532df99d5faa85b7a5ec47 \
      ffe83e6876c266af1dcd0400dbbb89711e16fcc7b20d9bd216ed518e5e947e6fde070ebb95d0ddf4ddac \
      c1e95f8875742909b12f4568c801536c144074e01e884b53e4e71043cd3a3960dd7f5bfdd912d37a0c87 \
      8fa92b1a049a0018b28b72d905a9e06ede541d0edc0aefeb7c5bb87038dfc3171d4d2ec73b9d180a039f \
      94fbda54",
     "c7457535b1971944ac25b39933755dcf3e47c8a2220dec94e7883fe6fc5fdc773b768bc5e9ef00a21223 \
      7f9dcdcfaec03d1ec81ddaf5e5146f3f3a743e417034e135510974eede00a424d05b0e4cfd44f381379d \
      64d74e6eed4aa9192cdabbbbfb671f9ccd55d67ca0c98ae57080b1e7a28bae915680ecdbbfd501841ab9 \
      63a32906326c42349ea617ab5495c9f2988afda1bb31525abe05f492d8d92825844eb7f70ccd35fb0542 \
      eb784fcd060bd25c13a02c1455f21249df210084ce663deecaf6e2a51de6f6973004cf6962b257f026cf \
      1bc624449319952edd7aa089899942a4787b7b85616ca4f7d071ad4d61e76f6c17e88745a7dd4a41881b \
      823d7589",
     "129a21eeb6faee2c3a4068ee0878f7d6ebf6e266a834d8f5dda797a3d249e3e0e4577301803c0436f527 \
      0149a81fc9e02fe63bc894c76c41e5d233a33c4c8d20d323b7e683cc4d48892cd4315f9ac6f432a09424 \
      100b1aa98452f11e21cd1679dab9678e4e0aeb8eb6efea3b7d211d86fa2508adc782f7f3b7612b0d7308 \
      1fb28ddaaa2fcbf202fa9ed7ba3c50ad46fddf0bf6f982e9771e96992fe2e5401835b3f2eed6e03d4e9b \
      abed57b245e0461bf54211a77689f5c5715b86cf88343ea142881d2c38cd267dc47e55acd259331826ff \
      da3a445ebc15e1b7ab811fb5d9e1a542997660d7c76b432d451464d4f6f87d3488d7f90a43e9caf564ec \
      6d2ca421"),
    (KeGroup::Modp3072, "a170b33839263059f28c105d1fb17c2390c192cfd3ac94af0f21ddb66cad4a268d116ece1738f7d93d9c \
      172411e20b8f",
     "26c63e90c3110ed1630bc95a2c41d24f544d183ad9ad94c30446047991a4edaba516c2a04377cca2f89b \
      14a829059f9d83f313d6a6302e7190faa0e0daf3e297b74c249f943214f0c6c199001decc70b37d10ec8 \
      ef900b83c752f0dbd8137ca20a94ae99af87b65d7e7e5f7b613b2e23ac537c380a7ba1e826ffcbe4adbc \
      974afe3041784b7d26d04e9f91b1d24b6d7f94b03a8afc8d219a699c220569b76b81ec49eede9888388f \
      a1f4374227d96e28be25d1a6759621b5cc4cefceb0725e6dadd671f70d82f869ad0bcc5225ba2c86f780 \
      3e275d890ed9c946766d3737bb40897eb2de1ce99fb494a0709ed00b263e638e1535d4eb97f5c4e11b94 \
      317f52449d1dc10d4207cbcbe365632dd1643aaf9fe07eb3dce800b35a93f46c4ffd4554447f06514dc3 \
      1f60544bc616a32a7ec5f5434a716d1c850a1122aa07cfad0ae1dc220d73536f3069bd5c8df1c19186d1 \
      935d3b7a4c5c2f0b9b3392ecb221fb856b0e40ab5a9cc6cf8f87ca668e62ee3c845607fb5c1b36ff2ad0 \
      9f36c365c608",
     "61000e2ebd65e5d4418a465b1cfea9cb9a4e5da524ae9326ca488893ce643a3bfc3a59ca11ea59a9a392 \
      f0c7eee9dc30e4a0793825a54c6f1b45a80c1c2e30d0cef35d113a09e1e93b7db6eb04d28861a96c3e6c \
      b12b05510f37fcae2e3b11ba48498ee28ffebc30f084633a05e74a88a12d0d37ea1fe79ba281371db725 \
      6042a325bb6cdf6f812348d3d7a95050428cf6c54431bda7c2f83042e630a22e9d149f190c4542103bef \
      5830de2c33963d9823b3b3fc8b4e279ea2f1fd2af8d0c088d7f84c6bb11cc5333fde0007dacccc235230 \
      211eb13599d8c624ecf10b18b48aed85d030a719977ef3452bc7abc4e22423d03a33a1034e16289d57ed \
      d1faa97ae64660e65d4405ecfbf3a12197da16997e981b56e58af5c31835d3d4c50f976fb518be0847e7 \
      c96e05d943eff408ba84d53f91754391458071a758c62eb7bbbc34794b9c5dcf6f89567826892029ce12 \
      3da98a60d30799a04b4d3d94d6058ec5ca1e89fbd4b00ad626726cb9076a98f9fb9437c9613a2a674fda \
      1d222e759ff3",
     "c329b17632ff999a954c365956e697207ff1a4d1d1ceb114597c0f7832c2b04ed8bfadeb0aae04156cdb \
      481635d7dc5125f680687ab484249b6bbe078f19f1cd23a8e33bbf3e1b8f462289efa0294ce9d5275b25 \
      2a57c636bb589afa9e2c228f23dcba2945f55d19013ad6630e248d227318e939a646af2c3bb396605a66 \
      7da9eb268009697e94050c3742968486176372d37578485d4612326876d5d6ee3b79cdf68b25a1d621f0 \
      03ccb0106f2dc869e61e5e5bd8ecc69db4b7da98801a1a7bdd20a24b020515f0b53c8ac40525928353b6 \
      99926ae32f7449f267c09b82cba840078daf90c42ed07ed2d70104dfa27bd4d1053242a8063085c05330 \
      9a5eb320a0448e84d7a65ef88388e397d497d768b43e6d6f035c5d294ad081f331d247075f3bfdb2936a \
      2d76832425ede562d329870683e5aa837f3ff1bc681eb8cc61e6fc4713a47164d2d8b6fcc52c44ea1f42 \
      8c7330f29905b7f1c3656e9fa43c402e43e77f18e0fa06d98c2a3c819f43e9b418697931c47924300456 \
      58ead8453317"),
    (KeGroup::Modp4096, "9a61dbe22e44158bae97ba94d0eda82f8f6d05584ef8aa38922766581e27a1c08a6a63ec24ede6a46b4c \
      b2424a23d5962217beaddbc496cb",
     "8d16d40263987d79f89e801ad25344bb63fe8fea723c8b9da3c4f387371b27cf024389898e4139b248b1 \
      0eb64d80583c9cf5eed9fc7c4829c06492d8b4410f35038fcd58415bfadedd248a148b813be43ecc2dc1 \
      ecb93450a3e7aa6ef13a71e0997047e6a4ce0e190eeaf1a06bef079ba81412d52af78dd466f9b9cb638b \
      6a630981000c9f46d093d40817ba70d2fbdcfe63060085155172a74314708b24314e03bafd6abb700f37 \
      6907727d9a66402ff91f9c957a0172cf86631c115e1f9ba1c8f70b8214444383af8868bde3fe752efaf9 \
      ad68b4837c10041b51bb28b2db034558c229de62f9c4bb45bae5264e61f3bad96fa4d3eecb64fb41efba \
      0a542040f603c40166170e334a65afc1729a798ffdf5feb7fa1ac1e7c19bfbd38f4723231492ecc01d12 \
      da35131a6ab2e681d9196356f733d501dcf5932d6de61c1aaf89fcc03d99a0f90571bf9ab81cd6bc49ba \
      c58f617e3c451561d4f0a4f970050f6a217400e57a5fe5f709fd33f867b9ecb0cc1a6b81192f26801503 \
      32b6a8bdfe7e996e13fd53f033fcd6d994e317abc38b3328888a00ce6809a8946a8ab9f94ab283a2bfe7 \
      fa4e1a2990078da6de1046424bd574dc7f668caa56bff8133cdc0021f33d2d6d1c16bf20b190813f9986 \
      fa084d6eb15c3b3353bbb7fe291c9f69c6ab0888a9f78e4eea0b7f4ac458dc27e7aad4d5e92b4a5605ba \
      802be382b3a671dd",
     "15c40382d55f10ea670e8d16f3ce84c580f610c966559f5978db3f0a9888a11c135fa2bd41779ded5854 \
      09704ed2c6c4ff6cd099432756bbadf026d259b03c233fd4671fae655a54bb61f96fac49762e1b5102ca \
      95d8dbb244b0eaf7ebadf9c46274992c9cedda5d744803ca1a3c06266d57589a63b7b25418b678451e8a \
      b2c8418a5bfe38bc98fa567144449c447cf0714305fd467a51c62fcbcec8f2fbd7d48cf4f8f0f1fe34c4 \
      e4f563e15ecf9ccc61d66fa83175fa6145eb183a27c07f3dace3e192a05bb30570b7e6ee9a85c68ee4f8 \
      294c599a88e984f798c68e4e620f9bf5e3da1d737106476fe1df27de18ad699974ec4e609f77eab2576a \
      5697e70b71c1ed6c754864d78fc7d5d4e57279f1dec73697e97310e534fbf774ec03693bef1353b7b522 \
      524c8175af8662c3df737b83fcfed3cbcce4a1c570b2a392a777fe8da6772f7be268dd9deaa4ca7afda2 \
      41120a4663408dfbf34bc32f5dffa8160d69384ce26f8594ca778a1835bda2aaaf5f746b0167304a4ae2 \
      bdb7c2ab15ecf7ccb67e4a16e79fcbe2d8183fd048086f82d483ab4bee069bb0dc073fbc4714af1b9339 \
      d18b63672f98cd05db28978ecce94c31f0b4c0daa03be35ef37c7545563088e53000423f0ce205e5d453 \
      17210c2b260de095108aca02cc13c7ddfe5b16296b63c697f003a44e782bf132af0b945ecf3c5a08c709 \
      e99810354e5f0e05",
     "14ef794eafe68b5a2edd998b5ce89957f0a97437c42d52d0e3f8b0eaf3062de3745b5b5ca8b9459c97b9 \
      1fbda9e931e4ac17c4a2ed944941cc49c7642417b78427a8383c86b276f4732d85da63a02152a6a1358e \
      38be76570fe82a0b3addc37c5b792f3c375a42ba32be9270a97c6de9173bc8982e7c79a7cf743eae257e \
      60fbc1d6fabf3ee8981989721e989500e0a5bc7febdf689acfcb9b0480b37b8d2b157ea3b845f3871ac4 \
      1407d4515c17e937819c936fbc2bb7f69f039d76b16e0d525f32659d280a6804f86b9cd04196aaafe52f \
      0fc54925f0bff8f8937829e5e7428446aa85a3a1a289f4592562b8c36218e5858c163d9e72b979fe1da2 \
      505aa976094135ee879671c0efd312ddc10aba594bde515a5b0cc3e86844552e02f68ef95d1c8188cb25 \
      51dd1bd60c528d31de9bc8de5599261c7decc9de9e58a2a3f55196d84fc1324606f0794f3c3b58d8d8cd \
      8609977bb0aef3e264723d7d0d7fbccd4b3c5d3b1ff7e66571b425ff131b9b129f9107278bca14ed555d \
      5a59a23564c91bb50615dd6efca4b116a2d4ad6416c7218dc832cb4756b0f2660413a459856c319bd3f4 \
      c72969d452be4a793e1c2cdb8ab09443353b2c0499bdc4b416927a11153d772a103335a60bb40f000355 \
      a3e3d740b6d97a2beb079d2a25059dededdb57977620b9ec833bbfac8eb8a26e9ea6a372f914605eb6ed \
      33289913eacebffc"),
    (KeGroup::Modp2048, "9818e811892f902bd23f0824128b2f330c5c7fd0a6a3a4506513270e269e0d37f2a74de452e6b438",
     "b6777528c582bf1e9a9bbd05ed34a53013a056a2e907198d0eabdf9e97ce981789dc208c216296a18983 \
      27bf47218c714f00528d694eb3f5676cdef20bea26c842d1d0d5e43eacbe3101012fc97f647d3f4eb1c2 \
      ba2e5ea685fe2cb8b891d6e2009eb8f24be51062948a3183aa627850fdfb6d532df99d5faa85b7a5ec47 \
      ffe83e6876c266af1dcd0400dbbb89711e16fcc7b20d9bd216ed518e5e947e6fde070ebb95d0ddf4ddac \
      c1e95f8875742909b12f4568c801536c144074e01e884b53e4e71043cd3a3960dd7f5bfdd912d37a0c87 \
      8fa92b1a049a0018b28b72d905a9e06ede541d0edc0aefeb7c5bb87038dfc3171d4d2ec73b9d180a039f \
      94fbda54",
     "000000000000000000000000000000000000000000000000000000000000000000000000000000000000 \
      000000000000000000000000000000000000000000000000000000000000000000000000000000000000 \
      000000000000000000000000000000000000000000000000000000000000000000000000000000000000 \
      000000000000000000000000000000000000000000000000000000000000000000000000000000000000 \
      000000000000000000000000000000000000000000000000000000000000000000000000000000000000 \
      000000000000000000000000000000000000010000000000000000000000000000000000000000000000 \
      00000000",
     "004c465a46c8807863c28aca9cc72524deb3e069a56f85cf10a922bdadd7946a2d05b56cde334009ce4e \
      6cc1ab8cac287110b428f11d33299f5f98297df1b6a978c8de7a297f3822b607314a745fe0087ca00bb5 \
      ae544d389b523d9036240b7c0efa6d5806b2b5a5d3e890ec1dcd9159cc897f0467ccfd570a5b9072308e \
      1bcfd354b5a5ac64d88df58ce4a02e721fb568c353ab9bc24ba37a266b15bea9851ff2011c244d2f3c5f \
      0bc3600f7c2d53f97c4f86953f1f26e76fd9d15db61676966c029a39d1c185d48e6110576ef693055e98 \
      6c6f2b654d74b269f2e9f8db86589610f3aa98c8ca10d0f4d1cac024879759cbeb9610fdafcf033ea462 \
      f53a2864"),
];

#[test]
fn known_agreements() {
    for (group, private, public, peer, shared) in AGREEMENTS {
        let secret = KeSecret::generate(*group, &mut Fixed(hex(private))).unwrap();
        assert_eq!(secret.public(), hex(public), "{group}");
        assert_eq!(secret.agree(&hex(peer)).unwrap().as_bytes(), hex(shared), "{group}");
    }
}

#[test]
fn both_ends_agree_and_seeds_repeat() {
    for group in KeGroup::ALL {
        let make = |seed| KeSecret::generate(group, &mut SeededRandom::new(seed)).unwrap();
        let (ours, theirs) = (make(1), make(2));
        assert_eq!(ours.public().len(), group.public_len());
        assert_eq!(ours.agree(theirs.public()), theirs.agree(ours.public()));
        assert_eq!(ours.public(), make(1).public());
        assert_ne!(ours.public(), theirs.public());
        assert_eq!(KeGroup::from_id(group.id()), Some(group));
    }
    for id in [0, 1, 2, 5, 17, 22, 23, 24, 1024, 1025, 1040, u16::MAX] {
        assert_eq!(KeGroup::from_id(id), None);
    }
}

/// CVE-2023-41913: the length of a peer's value is checked against the group before anything else.
#[test]
fn wrong_lengths_are_told_apart() {
    for group in KeGroup::ALL {
        let secret = KeSecret::generate(group, &mut SeededRandom::new(1)).unwrap();
        let good = KeSecret::generate(group, &mut SeededRandom::new(2)).unwrap();
        let len = group.public_len();
        for got in [0, 1, len - 1, len + 1, 2 * len, 65_535] {
            let mut value = good.public().to_vec();
            value.resize(got, 1);
            let expected = Err(KeError::WrongLength { group, expected: len, got });
            assert_eq!(secret.agree(&value), expected);
        }
    }
}

/// RFC 6989 §2.1: 0, 1, p − 1, p and anything above.
#[test]
fn modp_values_out_of_range_are_refused() {
    for group in [KeGroup::Modp2048, KeGroup::Modp3072, KeGroup::Modp4096] {
        let secret = KeSecret::generate(group, &mut SeededRandom::new(1)).unwrap();
        let len = group.public_len();
        let small = |last| {
            let mut value = vec![0; len];
            value[len - 1] = last;
            value
        };
        let prime = prime(group);
        let (mut below, mut two_below, mut above) = (prime.clone(), prime.clone(), prime.clone());
        below[len - 1] -= 1;
        two_below[len - 1] -= 2;
        // The primes end in 64 one bits, so adding one carries into a zero octet above them.
        above[len - 9] += 1;
        above[len - 8..].fill(0);
        let refused = Err(KeError::InvalidPublic { group });
        for bad in [small(0), small(1), below, prime, above, vec![0xff; len]] {
            assert_eq!(secret.agree(&bad), refused);
        }
        assert!(secret.agree(&small(2)).is_ok());
        assert!(secret.agree(&two_below).is_ok());
    }
}

/// RFC 3526 §3–5, copied apart from the crate's own.
fn prime(group: KeGroup) -> Vec<u8> {
    let text = match group {
        KeGroup::Modp2048 => P2048,
        KeGroup::Modp3072 => P3072,
        _ => P4096,
    };
    hex(text)
}

/// RFC 6989 §2.3: points off the curve, coordinates out of range, "infinity" as zeros.
#[test]
fn points_off_the_curve_are_refused() {
    let mut rng = SeededRandom::new(3);
    for group in [KeGroup::Ecp256, KeGroup::Ecp384, KeGroup::Ecp521] {
        let secret = KeSecret::generate(group, &mut rng).unwrap();
        let good = KeSecret::generate(group, &mut rng).unwrap().public().to_vec();
        let len = good.len();
        let refused = Err(KeError::InvalidPublic { group });
        assert_eq!(secret.agree(&vec![0; len]), refused);
        assert_eq!(secret.agree(&vec![0xff; len]), refused);
        for octet in 0..len {
            let mut bad = good.clone();
            bad[octet] ^= 1;
            assert_eq!(secret.agree(&bad), refused, "{group} octet {octet}");
        }
        for _ in 0..50 {
            let mut random = vec![0; len];
            rng.fill(&mut random);
            assert_eq!(secret.agree(&random), refused);
        }
    }
}

/// RFC 8031 §2 with RFC 7748 §6.1: points of small order give an all-zero secret.
#[test]
fn small_order_points_of_curve25519_are_refused() {
    let secret = KeSecret::generate(KeGroup::X25519, &mut SeededRandom::new(1)).unwrap();
    for point in [
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    ] {
        let refused = Err(KeError::InvalidPublic { group: KeGroup::X25519 });
        assert_eq!(secret.agree(&hex(point)), refused, "{point}");
    }
}

#[test]
fn a_broken_source_of_randomness_is_an_error() {
    for group in [KeGroup::Ecp256, KeGroup::Ecp384, KeGroup::Ecp521] {
        assert!(KeSecret::generate(group, &mut Fixed(vec![0])).is_err());
    }
    assert!(KeSecret::generate(KeGroup::Ecp256, &mut Fixed(vec![0xff])).is_err());
}

#[test]
fn errors_are_sentences() {
    let secret = KeSecret::generate(KeGroup::Ecp256, &mut SeededRandom::new(1)).unwrap();
    let error = secret.agree(&[0; 3]).unwrap_err();
    assert_eq!(error.to_string(), "a public value of ECP_256 has 64 octets, the peer sent 3");
    assert_eq!(format!("{secret:?}"), "KeSecret { group: Ecp256, .. }");
}

#[rustfmt::skip]
const P2048: &str = "ffffffffffffffffc90fdaa22168c234c4c6628b80dc1cd129024e088a67cc74020bbea63b139b22514a \
      08798e3404ddef9519b3cd3a431b302b0a6df25f14374fe1356d6d51c245e485b576625e7ec6f44c42e9 \
      a637ed6b0bff5cb6f406b7edee386bfb5a899fa5ae9f24117c4b1fe649286651ece45b3dc2007cb8a163 \
      bf0598da48361c55d39a69163fa8fd24cf5f83655d23dca3ad961c62f356208552bb9ed529077096966d \
      670c354e4abc9804f1746c08ca18217c32905e462e36ce3be39e772c180e86039b2783a2ec07a28fb5c5 \
      5df06f4c52c9de2bcbf6955817183995497cea956ae515d2261898fa051015728e5a8aacaa68ffffffff \
      ffffffff";
#[rustfmt::skip]
const P3072: &str = "ffffffffffffffffc90fdaa22168c234c4c6628b80dc1cd129024e088a67cc74020bbea63b139b22514a \
      08798e3404ddef9519b3cd3a431b302b0a6df25f14374fe1356d6d51c245e485b576625e7ec6f44c42e9 \
      a637ed6b0bff5cb6f406b7edee386bfb5a899fa5ae9f24117c4b1fe649286651ece45b3dc2007cb8a163 \
      bf0598da48361c55d39a69163fa8fd24cf5f83655d23dca3ad961c62f356208552bb9ed529077096966d \
      670c354e4abc9804f1746c08ca18217c32905e462e36ce3be39e772c180e86039b2783a2ec07a28fb5c5 \
      5df06f4c52c9de2bcbf6955817183995497cea956ae515d2261898fa051015728e5a8aaac42dad33170d \
      04507a33a85521abdf1cba64ecfb850458dbef0a8aea71575d060c7db3970f85a6e1e4c7abf5ae8cdb09 \
      33d71e8c94e04a25619dcee3d2261ad2ee6bf12ffa06d98a0864d87602733ec86a64521f2b18177b200c \
      bbe117577a615d6c770988c0bad946e208e24fa074e5ab3143db5bfce0fd108e4b82d120a93ad2caffff \
      ffffffffffff";
#[rustfmt::skip]
const P4096: &str = "ffffffffffffffffc90fdaa22168c234c4c6628b80dc1cd129024e088a67cc74020bbea63b139b22514a \
      08798e3404ddef9519b3cd3a431b302b0a6df25f14374fe1356d6d51c245e485b576625e7ec6f44c42e9 \
      a637ed6b0bff5cb6f406b7edee386bfb5a899fa5ae9f24117c4b1fe649286651ece45b3dc2007cb8a163 \
      bf0598da48361c55d39a69163fa8fd24cf5f83655d23dca3ad961c62f356208552bb9ed529077096966d \
      670c354e4abc9804f1746c08ca18217c32905e462e36ce3be39e772c180e86039b2783a2ec07a28fb5c5 \
      5df06f4c52c9de2bcbf6955817183995497cea956ae515d2261898fa051015728e5a8aaac42dad33170d \
      04507a33a85521abdf1cba64ecfb850458dbef0a8aea71575d060c7db3970f85a6e1e4c7abf5ae8cdb09 \
      33d71e8c94e04a25619dcee3d2261ad2ee6bf12ffa06d98a0864d87602733ec86a64521f2b18177b200c \
      bbe117577a615d6c770988c0bad946e208e24fa074e5ab3143db5bfce0fd108e4b82d120a92108011a72 \
      3c12a787e6d788719a10bdba5b2699c327186af4e23c1a946834b6150bda2583e9ca2ad44ce8dbbbc2db \
      04de8ef92e8efc141fbecaa6287c59474e6bc05d99b2964fa090c3a2233ba186515be7ed1f612970cee2 \
      d7afb81bdd762170481cd0069127d5b05aa993b4ea988d8fddc186ffb7dc90a6c08f4df435c934063199 \
      ffffffffffffffff";
